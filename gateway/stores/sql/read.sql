-- Reading for people: explanations, keys, upkeep.

-- name: event_get
select e.seq, s.site, e.event_id, e.name, e.trust, e.occurred_at_ms, e.received_at_ms, e.visitor_kind, e.facts
from site s cross join event e using (site_no) -- in this order, so that the index of ids is used
where e.event_id = :event_id and (:site is null or s.site = :site)
order by e.seq
limit 2

-- name: event_conversions
select conversion_id, goal, order_id, amount_minor, currency, test, fate, reason, counted_id from conversion where event_seq = ?

-- name: event_touches
select kind, occurred_at_ms, referrer, campaign, click_ids is not null from touch where event_seq = ?

-- name: event_deliveries
select delivery_id, destination, fate, reason, detail, purposes, judged_at_ms, due_at_ms, attempts, expires_at_ms, dedup_key, settled_at_ms
from delivery where event_seq = ? order by destination

-- name: delivery_attempts
select at_ms, latency_ms, verdict, status, code, answer from attempt where delivery_id = ? order by attempt_no

-- name: event_recent
select s.site, e.event_id, e.name, e.received_at_ms, e.visitor_kind from event e join site s using (site_no)
order by e.seq desc limit ?

-- name: event_count
select count(*) from event

-- name: api_keys
select api_key_id, secret_sha256, title, sites, rights, must_sign, created_at_ms, revoked_at_ms from api_key order by created_at_ms

-- name: api_key_put
insert into api_key (api_key_id, secret_sha256, title, sites, rights, must_sign, created_at_ms, revoked_at_ms) values (?, ?, ?, ?, ?, ?, ?, ?)

-- name: api_key_revoke
update api_key set revoked_at_ms = ? where api_key_id = ? and revoked_at_ms is null

-- name: expire_once
delete from once_token where (use, digest) in (
    select use, digest from once_token where expires_at_ms < :now_ms limit :limit
)

-- name: expire_idempotency
delete from idempotency where (api_key_id, idempotency_key) in (
    select api_key_id, idempotency_key from idempotency where created_at_ms < :before_ms limit :limit
)

-- name: expire_attempts
delete from attempt where attempt_no in (select attempt_no from attempt where at_ms < :before_ms limit :limit)

-- name: expire_dead_payloads
update delivery set payload = null where delivery_id in (
    select delivery_id from delivery
    where fate = 'dead' and payload is not null and (expires_at_ms < :now_ms or settled_at_ms < :before_ms) limit :limit
)

-- name: expire_told_attempts
delete from attempt where delivery_id in (
    select delivery_id from delivery
    where record_id is not null and fate <> 'waiting' and judged_at_ms < :before_ms limit :limit
)

-- name: expire_told
delete from delivery where delivery_id in (
    select delivery_id from delivery
    where record_id is not null and fate <> 'waiting' and judged_at_ms < :before_ms limit :limit
)

-- name: oldest_events
select e.seq, e.received_at_ms, 0 from event e
where not exists (select 1 from delivery d where d.event_seq = e.seq and d.fate = 'waiting')
order by e.seq limit :limit

-- name: expire_event_attempts
delete from attempt where delivery_id in (select delivery_id from delivery where event_seq = ?)

-- name: expire_event_deliveries
delete from delivery where event_seq = ?

-- name: expire_event_touches
delete from touch where event_seq = ?

-- name: expire_event_conversions
delete from conversion where event_seq = ?

-- name: expire_event
delete from event where seq = ?
