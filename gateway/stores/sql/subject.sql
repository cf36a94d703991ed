-- All that is held of one visitor or person: counted, shown, erased. A subject is a keyed digest of either.

-- name: held_events
select count(*), min(e.received_at_ms), max(e.received_at_ms) from subject_event s join event e on e.seq = s.event_seq
where s.site_no = :site_no and s.subject_key = :subject_key

-- name: held_conversions
select count(*) from subject_event s join event e on e.seq = s.event_seq join conversion c on c.event_seq = e.seq
where s.site_no = :site_no and s.subject_key = :subject_key

-- name: held_touches
select count(*) from (
    select touch_no from touch where site_no = :site_no and visitor_key = :subject_key
    union
    select t.touch_no from subject_event s join touch t on t.event_seq = s.event_seq
    where s.site_no = :site_no and s.subject_key = :subject_key
)

-- name: held_deliveries
select d.destination, d.fate, case d.fate when 'withheld' then d.reason else '' end, count(*)
from subject_event s join event e on e.seq = s.event_seq join delivery d on d.event_seq = e.seq
where s.site_no = :site_no and s.subject_key = :subject_key
group by 1, 2, 3 order by 1, 2, 3

-- name: held_told
select d.destination, d.fate, case d.fate when 'withheld' then d.reason else '' end, count(*)
from consent_record r join delivery d on d.record_id = r.record_id
where r.site_no = :site_no and r.subject_key = :subject_key
group by 1, 2, 3 order by 1, 2, 3

-- name: held_records
select record_id, payload, received_at_ms from consent_record
where site_no = :site_no and subject_key = :subject_key order by received_at_ms, record_id

-- name: events_page
select e.seq, e.event_id, e.name, e.trust, e.occurred_at_ms, e.received_at_ms, e.visitor_kind, e.facts
from subject_event s join event e on e.seq = s.event_seq
where s.site_no = :site_no and s.subject_key = :subject_key
order by e.seq limit :limit offset :start

-- name: conversions_page
select event_seq, conversion_id, goal, order_id, amount_minor, currency, test, fate, reason, counted_id from conversion
where event_seq in (
    select event_seq from subject_event where site_no = :site_no and subject_key = :subject_key
    order by event_seq limit :limit offset :start
)

-- name: deliveries_page
select event_seq, delivery_id, destination, fate, reason, detail, purposes, judged_at_ms, due_at_ms, attempts, expires_at_ms, dedup_key, settled_at_ms
from delivery
where event_seq in (
    select event_seq from subject_event where site_no = :site_no and subject_key = :subject_key
    order by event_seq limit :limit offset :start
)
order by destination

-- name: touches_page
select e.event_id, t.kind, t.occurred_at_ms, coalesce(t.visitor_key, x''), t.referrer, t.campaign, t.click_ids, t.channel, t.source, t.medium, t.campaign_name, t.link_id, t.device, t.os, t.browser, t.landing
from (
    select touch_no from touch where site_no = :site_no and visitor_key = :subject_key
    union
    select t.touch_no from subject_event s join touch t on t.event_seq = s.event_seq
    where s.site_no = :site_no and s.subject_key = :subject_key
) own join touch t using (touch_no) left join event e on e.seq = t.event_seq
order by t.touch_no limit :limit

-- name: record_entry
select s.site, c.record_id, c.entry from consent_entry c join site s using (site_no)
where c.record_id = :record_id and (:site is null or s.site = :site)

-- name: record_deliveries
select delivery_id, destination, fate, reason, detail, purposes, judged_at_ms, due_at_ms, attempts, expires_at_ms, dedup_key, settled_at_ms
from delivery where record_id = ? order by destination, delivery_id

-- name: event_told
select d.delivery_id, d.destination, d.fate, d.reason, d.detail, d.purposes, d.judged_at_ms, d.due_at_ms, d.attempts, d.expires_at_ms, d.dedup_key, d.settled_at_ms
from event e
join consent_record r on r.site_no = e.site_no and r.subject_key in (e.visitor_key, e.person_key) and r.received_at_ms >= e.received_at_ms
join delivery d on d.record_id = r.record_id
join delivery own on own.event_seq = e.seq and own.destination = d.destination and own.attempts > 0 and (own.purposes & d.purposes) != 0
where e.seq = ?
order by d.delivery_id

-- name: erase_list
select e.seq, e.facts from subject_event s join event e on e.seq = s.event_seq
where s.site_no = :site_no and s.subject_key = :subject_key order by e.seq

-- name: erase_cancel
update delivery
set fate = 'cancelled', reason = 'subject_erased', detail = null, payload = null, settled_at_ms = :now_ms
where fate = 'waiting' and leased_until_ms is null and event_seq in (
    select event_seq from subject_event where site_no = :site_no and subject_key = :subject_key
)

-- What is being sent at this moment keeps its lease and loses its payload: whatever comes back, it is not sent again.
-- name: erase_deliveries
update delivery set payload = null, visitor_key = null, person_key = null
where event_seq in (
    select event_seq from subject_event where site_no = :site_no and subject_key = :subject_key
)

-- name: erase_touches
delete from touch
where (site_no = :site_no and visitor_key = :subject_key) or event_seq in (
    select event_seq from subject_event where site_no = :site_no and subject_key = :subject_key
)

-- name: erase_event
update event set visitor_kind = 'none', visitor_key = null, person_key = null, facts = ? where seq = ?

-- name: erase_records
delete from consent_record where site_no = :site_no and subject_key = :subject_key

-- name: erase_state
delete from consent_state where site_no = :site_no and subject_key = :subject_key

-- name: erase_listed
delete from visitor_event where site_no = :site_no and visitor_key = :subject_key

-- name: list_upto
select upto_seq, (select max(seq) from event) from visitor_listed

-- name: list_visitors
insert or ignore into visitor_event (site_no, visitor_key, event_seq)
select site_no, visitor_key, seq from event
where seq > :after and seq <= :upto and visitor_key is not null
order by site_no, visitor_key, seq

-- name: list_done
update visitor_listed set upto_seq = :upto

-- When the newest events are deleted their numbers are given again: what comes next under them is not listed yet.
-- name: list_again
update visitor_listed set upto_seq = (select coalesce(max(seq), 0) from event)
where upto_seq > (select coalesce(max(seq), 0) from event)

-- name: unlist_event
delete from visitor_event
where (site_no, visitor_key, event_seq) = (select site_no, visitor_key, seq from event where seq = ? and visitor_key is not null)
