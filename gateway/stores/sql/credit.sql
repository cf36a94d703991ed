-- Touches, who was seen to be whom, what conversions are credited with, what changed them afterwards.

-- name: touch_insert
insert into touch (site_no, event_seq, kind, occurred_at_ms, visitor_key, referrer, campaign, click_ids, channel, source, medium, campaign_name, link_id, campaign_id, ambassador_id, variant, click_id, landed_click_id, device, os, browser, landing, human, human_reason, consent, test)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict do nothing

-- name: touch_of_click
select touch_no from touch where site_no = ? and click_id = ?

-- name: touch_clicks_newest
select site_no, click_id from touch order by touch_no desc limit ?

-- name: touch_repeat
update touch set repeats = repeats + ? where site_no = ? and click_id = ?
returning test, occurred_at_ms, kind, channel, source, medium, campaign_name, campaign_id, link_id, ambassador_id, variant, device, human

-- name: touch_day_add
insert into touch_day (site_no, day, kind, channel, source, medium, campaign_name, campaign_id, link_id, ambassador_id, variant, device, human, touches, repeats)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict do update set touches = touches + excluded.touches, repeats = repeats + excluded.repeats

-- name: contacts_of_visitor
select t.touch_no, e.event_id, t.kind, t.visitor_key, t.occurred_at_ms, t.referrer, t.channel, t.source, t.medium, t.campaign_name, t.link_id, t.campaign_id, t.ambassador_id, t.variant, t.click_id, t.landed_click_id, t.device, t.os, t.browser, t.landing, t.human, t.human_reason, t.consent, t.test, t.repeats
from touch t left join event e on e.seq = t.event_seq
where t.site_no = :site_no and t.visitor_key = :visitor_key and t.occurred_at_ms between :after_ms and :upto_ms
order by t.occurred_at_ms desc, t.touch_no desc
limit :limit

-- name: contacts_by_click
select t.touch_no, e.event_id, t.kind, t.visitor_key, t.occurred_at_ms, t.referrer, t.channel, t.source, t.medium, t.campaign_name, t.link_id, t.campaign_id, t.ambassador_id, t.variant, t.click_id, t.landed_click_id, t.device, t.os, t.browser, t.landing, t.human, t.human_reason, t.consent, t.test, t.repeats
from json_each(:click_ids) j
cross join touch t on t.site_no = :site_no and t.click_id = j.value
left join event e on e.seq = t.event_seq
where t.occurred_at_ms between :after_ms and :upto_ms
order by t.occurred_at_ms desc, t.touch_no desc
limit :limit

-- name: identity_insert
insert into identity_link (site_no, person_key, visitor_key, at_ms) values (?, ?, ?, ?)
on conflict do update set at_ms = excluded.at_ms where excluded.at_ms < at_ms

-- name: devices_of
select visitor_key, at_ms from identity_link where site_no = ? and person_key = ? order by at_ms, visitor_key limit ?

-- name: persons_of
select visitor_key, person_key, at_ms from identity_link indexed by identity_link_visitor where site_no = ? and visitor_key = ? limit ?

-- name: uncredited
select s.site, c.conversion_id, e.event_id, c.goal, c.goal_version, c.order_id, c.amount_minor, c.currency, c.value_source, c.net_minor, c.click_id, c.coupons, c.campaign_id, c.test, c.fate, c.reason, c.occurred_at_ms, e.received_at_ms, e.trust, e.visitor_key, e.person_key, c.credit_version, e.facts
from conversion c join event e on e.seq = c.event_seq join site s on s.site_no = c.site_no
where c.credit_due_ms <= :now_ms
order by c.credit_due_ms, c.conversion_id
limit :limit

-- name: conversion_get
select s.site, c.conversion_id, e.event_id, c.goal, c.goal_version, c.order_id, c.amount_minor, c.currency, c.value_source, c.net_minor, c.click_id, c.coupons, c.campaign_id, c.test, c.fate, c.reason, c.occurred_at_ms, e.received_at_ms, e.trust, e.visitor_key, e.person_key, c.credit_version, e.facts
from conversion c join event e on e.seq = c.event_seq join site s on s.site_no = c.site_no
where c.conversion_id = :conversion_id and c.site_no = :site_no

-- name: conversions_of_order
select s.site, c.conversion_id, e.event_id, c.goal, c.goal_version, c.order_id, c.amount_minor, c.currency, c.value_source, c.net_minor, c.click_id, c.coupons, c.campaign_id, c.test, c.fate, c.reason, c.occurred_at_ms, e.received_at_ms, e.trust, e.visitor_key, e.person_key, c.credit_version, e.facts
from conversion c indexed by conversion_order join event e on e.seq = c.event_seq join site s on s.site_no = c.site_no
where c.site_no = :site_no and c.order_id = :order_id and c.fate <> 'duplicate'
order by c.test, c.occurred_at_ms, c.conversion_id

-- name: previous_of_visitor
select occurred_at_ms from conversion
where site_no = :site_no and visitor_key = :subject_key and goal = :goal
  and (occurred_at_ms, conversion_id) < (:before_ms, :not_id) and fate = 'counted' and test = 0
order by occurred_at_ms desc limit 1

-- name: previous_of_person
select occurred_at_ms from conversion
where site_no = :site_no and person_key = :subject_key and goal = :goal
  and (occurred_at_ms, conversion_id) < (:before_ms, :not_id) and fate = 'counted' and test = 0
order by occurred_at_ms desc limit 1

-- name: credit_again_one
update conversion set credit_due_ms = :now_ms
where conversion_id = :conversion_id and site_no = :site_no and fate <> 'duplicate' and credit_due_ms is null
  and (:goal is null or goal = :goal) and occurred_at_ms between :after_ms and :upto_ms

-- What was decided after the caller began is left alone, so that a caller who repeats this comes to an end.
-- name: credit_again
update conversion set credit_due_ms = :now_ms
where conversion_id in (
    select c.conversion_id from conversion c
    where c.site_no = :site_no and c.occurred_at_ms between :after_ms and :upto_ms and (:goal is null or c.goal = :goal)
      and c.fate <> 'duplicate' and c.credit_due_ms is null
      and not exists (
        select 1 from attribution a
        where a.conversion_id = c.conversion_id and a.version = c.credit_version and a.computed_at_ms > :now_ms
      )
    order by c.occurred_at_ms, c.conversion_id
    limit :limit
)

-- name: standing_get
select goal, currency, fate, value_source, order_id, amount_minor, net_minor, test, occurred_at_ms, credit_version
from conversion where conversion_id = ? and site_no = ? and fate <> 'duplicate'

-- name: attribution_insert
insert into attribution (conversion_id, version, model, model_version, goal_version, matched_by, why, path, seconds, first_of_person, computed_at_ms, excluded)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: attribution_newest
select conversion_id, version, model, model_version, goal_version, matched_by, why, path, seconds, first_of_person, computed_at_ms, excluded
from attribution where conversion_id = ? order by version desc limit 1

-- name: attribution_get
select conversion_id, version, model, model_version, goal_version, matched_by, why, path, seconds, first_of_person, computed_at_ms, excluded
from attribution where conversion_id = ? and version = ?

-- name: credit_insert
insert into credit (conversion_id, version, position, touch_no, kind, at_ms, channel, source, medium, campaign_name, link_id, campaign_id, ambassador_id, variant, device, landing, share_e9, amount_minor, net_minor)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: credits_of
select position, touch_no, kind, at_ms, channel, source, medium, campaign_name, link_id, campaign_id, ambassador_id, variant, device, landing, share_e9, amount_minor, net_minor
from credit where conversion_id = ? and version = ? order by position

-- name: attributions
select a.conversion_id, a.version, a.model, a.model_version, a.goal_version, a.matched_by, a.why, a.path, a.seconds, a.first_of_person, a.computed_at_ms, a.excluded
from json_each(:ids) j
cross join attribution a on a.conversion_id = j.value
  and a.version = (select max(version) from attribution where conversion_id = j.value)

-- name: credits_of_many
select r.conversion_id, r.position, r.touch_no, r.kind, r.at_ms, r.channel, r.source, r.medium, r.campaign_name, r.link_id, r.campaign_id, r.ambassador_id, r.variant, r.device, r.landing, r.share_e9, r.amount_minor, r.net_minor
from json_each(:versions) j
cross join credit r on r.conversion_id = j.key and r.version = j.value
order by r.conversion_id, r.position

-- name: credit_net
update credit set net_minor = ? where conversion_id = ? and version = ? and position = ?

-- What was asked for while the decision was being made is still due.
-- name: conversion_decided
update conversion
set credit_version = :version, credit_due_ms = case when credit_due_ms > :computed_at_ms then credit_due_ms end
where conversion_id = :conversion_id

-- name: conversion_adjusted
update conversion set fate = :fate, reason = :reason, net_minor = :net_minor, currency = :currency where conversion_id = :conversion_id

-- name: goal_day_add
insert into goal_day (site_no, day, goal, currency, conversions, unattributed, duplicates, retracted, defaulted, without_order, first_of_person, amount_minor, net_minor, seconds, timed)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict do update set
    conversions = conversions + excluded.conversions, unattributed = unattributed + excluded.unattributed,
    duplicates = duplicates + excluded.duplicates, retracted = retracted + excluded.retracted,
    defaulted = defaulted + excluded.defaulted, without_order = without_order + excluded.without_order,
    first_of_person = first_of_person + excluded.first_of_person,
    amount_minor = max(-9000000000000000000, min(9000000000000000000, amount_minor + excluded.amount_minor)),
    net_minor = max(-9000000000000000000, min(9000000000000000000, net_minor + excluded.net_minor)),
    seconds = seconds + excluded.seconds, timed = timed + excluded.timed

-- name: credit_day_add
insert into credit_day (site_no, day, goal, channel, source, medium, campaign_name, campaign_id, link_id, ambassador_id, variant, device, landing, currency, share_e9, first_e9, amount_minor, net_minor, seconds_e3, timed_e9)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict do update set
    share_e9 = share_e9 + excluded.share_e9, first_e9 = first_e9 + excluded.first_e9,
    amount_minor = max(-9000000000000000000, min(9000000000000000000, amount_minor + excluded.amount_minor)),
    net_minor = max(-9000000000000000000, min(9000000000000000000, net_minor + excluded.net_minor)),
    seconds_e3 = seconds_e3 + excluded.seconds_e3, timed_e9 = timed_e9 + excluded.timed_e9

-- name: adjustment_insert
insert into adjustment (site_no, adjustment_id, conversion_id, goal, order_id, kind, amount_minor, currency, reason, at_ms, received_at_ms, trust)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: adjustment_known
select 1 from adjustment where site_no = ? and adjustment_id = ?

-- name: adjustment_get
select adjustment_id, conversion_id, goal, order_id, kind, amount_minor, currency, reason, at_ms, received_at_ms, trust
from adjustment where site_no = ? and adjustment_id = ?

-- name: adjustment_count
select count(*) from adjustment where conversion_id = ?

-- name: adjustments_of
select adjustment_id, conversion_id, goal, order_id, kind, amount_minor, currency, reason, at_ms, received_at_ms, trust
from adjustment where conversion_id = :conversion_id and site_no = :site_no order by adjustment_no

-- name: adjustments_waiting
select adjustment_id, conversion_id, goal, order_id, kind, amount_minor, currency, reason, at_ms, received_at_ms, trust
from adjustment where site_no = ? and order_id = ? and conversion_id is null order by adjustment_no

-- name: adjustment_give
update adjustment set conversion_id = ? where site_no = ? and adjustment_id = ? and conversion_id is null

-- name: adjustment_waits
select count(*) from json_each(:ids) j
cross join adjustment a indexed by adjustment_once on a.site_no = :site_no and a.adjustment_id = j.value and a.conversion_id is null

-- name: order_known
select 1 from conversion
where site_no = :site_no and order_id = :order_id and fate <> 'duplicate' and (:goal = '' or goal = :goal) limit 1

-- A conversion without an amount gets its currency from the newest restatement.
-- name: restated_currency
select currency from adjustment where conversion_id = ? and kind = 'restate' order by at_ms desc, adjustment_id desc limit 1

-- name: expire_clicks
delete from touch where touch_no in (
    select touch_no from touch where event_seq is null and occurred_at_ms < :before_ms order by occurred_at_ms limit :limit
)

-- name: old_identities
select site_no, person_key, visitor_key from identity_link where at_ms < :before_ms limit :limit

-- name: identity_delete
delete from identity_link where site_no = ? and person_key = ? and visitor_key = ?

-- name: expire_waiting_adjustments
delete from adjustment where adjustment_no in (
    select adjustment_no from adjustment where conversion_id is null and received_at_ms < :before_ms limit :limit
)

-- name: expire_event_adjustments
delete from adjustment where conversion_id in (select conversion_id from conversion where event_seq = ?)

-- name: expire_event_credit
delete from credit where conversion_id in (select conversion_id from conversion where event_seq = ?)

-- name: expire_event_attribution
delete from attribution where conversion_id in (select conversion_id from conversion where event_seq = ?)

-- name: expire_sums
update sums_whole set from_day = max(from_day, ?)

-- name: own_identities
select site_no, person_key, visitor_key from identity_link where site_no = :site_no and person_key = :subject_key
union
select site_no, person_key, visitor_key from identity_link indexed by identity_link_visitor where site_no = :site_no and visitor_key = :subject_key

-- A key that names the person would let the next conversion be told from a stranger's.
-- name: erase_conversion
update conversion
set visitor_key = null, person_key = null, click_id = null,
    claim_key = case when claim_key like 'p:%' or claim_key like 'k:%' then 'x:' || conversion_id else claim_key end
where event_seq = ?
