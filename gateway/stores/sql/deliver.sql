-- Deliveries: claiming, settling, looking.

-- name: claim
update delivery
set leased_until_ms = :leased_until_ms, attempts = attempts + 1,
    unsure_since_ms = case when leased_until_ms is null then unsure_since_ms else coalesce(unsure_since_ms, :now_ms) end
where delivery_id in (
    select delivery_id from delivery
    where site_no = :site_no and destination = :destination and fate = 'waiting' and due_at_ms <= :now_ms
      and (leased_until_ms is null or leased_until_ms <= :now_ms)
    order by due_at_ms
    limit :limit
)
returning delivery_id, event_seq, record_id, purposes, visitor_key, person_key, judged_at_ms, attempts, expires_at_ms, dedup_key, unsure_since_ms, payload

-- name: claimed_event
select event_id, name, trust from event where seq = ?

-- name: denied_since
select s.denied from consent_state s left join consent_record r using (record_id)
where s.site_no = :site_no and s.subject_key in (:visitor_key, :person_key)
  and max(s.decided_at_ms, coalesce(r.received_at_ms, 0)) >= :judged_at_ms

-- name: settle
update delivery
set fate = :fate, reason = :reason, detail = :detail, due_at_ms = :due_at_ms, leased_until_ms = null,
    payload = case when :fate in ('waiting', 'dead') then payload end,
    attempts = attempts - :unattempted,
    unsure_since_ms = case when :unsure then coalesce(unsure_since_ms, :at_ms) else unsure_since_ms end,
    settled_at_ms = case when :fate = 'waiting' then null else :at_ms end
where delivery_id = :delivery_id and fate = 'waiting'

-- name: attempt_insert
insert into attempt (delivery_id, at_ms, latency_ms, verdict, status, code, answer) values (?, ?, ?, ?, ?, ?, ?)

-- name: next_due
select min(max(due_at_ms, coalesce(leased_until_ms, 0))) from delivery
where site_no = ? and destination = ? and fate = 'waiting'

-- name: leases_with_dedup
update delivery set leased_until_ms = null, unsure_since_ms = coalesce(unsure_since_ms, ?)
where fate = 'waiting' and leased_until_ms is not null and dedup_key is not null

-- name: leases_without_dedup
update delivery
set fate = 'unconfirmed', reason = 'answer_lost', payload = null, leased_until_ms = null, settled_at_ms = ?
where fate = 'waiting' and leased_until_ms is not null and dedup_key is null

-- name: replay
update delivery
set fate = 'waiting', reason = 'fresh', detail = null, due_at_ms = :now_ms, attempts = 0, settled_at_ms = null
where delivery_id in (
    select d.delivery_id from delivery d join site s using (site_no)
    where d.fate = 'dead' and d.payload is not null and d.expires_at_ms > :now_ms
      and (:site is null or s.site = :site)
      and (:destination is null or d.destination = :destination)
      and (:delivery_id is null or d.delivery_id = :delivery_id)
    order by d.delivery_id
    limit :limit
)
returning delivery_id

-- name: waiting_by_destination
select s.site, d.destination, count(*), min(d.due_at_ms) from delivery d join site s using (site_no)
where d.fate = 'waiting' group by 1, 2

-- name: delivery_tally
select s.site, d.destination, d.fate, count(*) from delivery d join site s using (site_no) group by 1, 2, 3

-- name: conversion_tally
select s.site, c.fate, count(*) from conversion c join site s using (site_no) group by 1, 2

-- name: dead_list
select d.delivery_id, s.site, d.destination, coalesce(e.event_id, d.record_id), coalesce(e.name, 'withdrawal'), d.reason, d.detail, d.attempts, d.settled_at_ms, d.payload is not null
from delivery d join site s using (site_no) left join event e on e.seq = d.event_seq
where d.fate = 'dead' and (:site is null or s.site = :site) and (:destination is null or d.destination = :destination)
order by d.settled_at_ms desc
limit :limit

-- name: recent
select d.delivery_id, s.site, d.destination, coalesce(e.event_id, d.record_id), coalesce(e.name, 'withdrawal'), d.fate, d.reason, d.detail, d.attempts, d.judged_at_ms, d.settled_at_ms
from delivery d join site s using (site_no) left join event e on e.seq = d.event_seq
order by d.delivery_id desc
limit ?
