-- Recording what arrived. Each statement opens with the name of its caller.

-- name: site_insert
insert into site (site) values (?) on conflict do nothing

-- name: site_list
select site, site_no from site

-- name: event_insert
insert into event (site_no, event_id, name, trust, occurred_at_ms, received_at_ms, visitor_kind, visitor_key, person_key, facts)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict do nothing

-- name: event_delete
delete from event where seq = ?

-- name: event_ids_newest
select site_no, event_id from event order by seq desc limit ?

-- name: event_conversion
select c.conversion_id, c.counted_id
from event e join conversion c on c.event_seq = e.seq
where e.site_no = ? and e.event_id = ?

-- name: conversion_insert
insert into conversion (conversion_id, site_no, event_seq, goal, claim_key, order_id, amount_minor, currency, test, fate, reason, counted_id, goal_version, value_source, net_minor, click_id, coupons, campaign_id, occurred_at_ms, visitor_key, person_key, credit_due_ms)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict do nothing

-- name: conversion_first
select c.conversion_id, c.amount_minor, c.currency, c.fate, e.event_id
from conversion c join event e on e.seq = c.event_seq
where c.site_no = ? and c.goal = ? and c.claim_key = ? and c.fate <> 'duplicate'

-- name: delivery_insert
insert into delivery (site_no, event_seq, destination, fate, reason, detail, purposes, visitor_key, person_key, judged_at_ms, due_at_ms, expires_at_ms, dedup_key, payload, settled_at_ms)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: once_insert
insert into once_token (use, digest, expires_at_ms) values (?, ?, ?) on conflict do nothing

-- name: idempotency_get
select body_sha256, recorded from idempotency where api_key_id = ? and idempotency_key = ?

-- name: idempotency_insert
insert into idempotency (api_key_id, idempotency_key, body_sha256, recorded, created_at_ms) values (?, ?, ?, ?, ?)
