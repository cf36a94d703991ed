-- Sums and lists for reports. A flag says whether to sum by a column; a column summed over is empty, a day 0.
-- Amounts are summed in two parts, so that no amount anybody may send overflows 64 bits.
-- `summing` cuts out of them what is asked for. The inner sums, in the order of a table's key, are made as rows are read.

-- name: spend_put
insert into spend (site_no, day, campaign_id, channel, source, currency, amount_minor, clicks, impressions, changed_at_ms)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict do update set
    amount_minor = excluded.amount_minor, clicks = excluded.clicks, impressions = excluded.impressions,
    changed_at_ms = excluded.changed_at_ms
where amount_minor is not excluded.amount_minor or clicks is not excluded.clicks or impressions is not excluded.impressions

-- name: spend
select day, campaign_id, channel, source, currency, amount_minor, clicks, impressions from spend
where site_no = ? and day between ? and ? order by day, campaign_id, channel, source, currency

-- name: spend_days
select
    case when :day then day else 0 end, case when :campaign_id then campaign_id else '' end,
    case when :channel then channel else '' end, case when :source then source else '' end,
    case when :currency then currency else '' end,
    sum(amount_minor / 1000000000), sum(amount_minor % 1000000000), sum(clicks), sum(impressions)
from spend
where site_no = :site_no and day between :from_day and :upto_day
group by 1, 2, 3, 4, 5
order by 1, 2, 3, 4, 5

-- name: touch_days
select
    case when :day then day else 0 end, case when :kind then kind else '' end,
    case when :channel then channel else '' end, case when :source then source else '' end,
    case when :medium then medium else '' end, case when :campaign_name then campaign_name else '' end,
    case when :campaign_id then campaign_id else '' end, case when :link_id then link_id else '' end,
    case when :ambassador_id then ambassador_id else '' end, case when :variant then variant else '' end,
    case when :device then device else '' end, case when :human then human else '' end,
    sum(touches), sum(repeats)
from (
    select
        site_no, day, kind, human, channel, source, medium, campaign_name, campaign_id, link_id, ambassador_id, variant, device,
        sum(touches) as touches, sum(repeats) as repeats
    from touch_day
    where site_no = :site_no and day between :from_day and :upto_day
    group by
        site_no, day, kind, human, channel, source, medium, campaign_name, campaign_id, link_id, ambassador_id, variant, device
)
group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
order by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12

-- name: credit_days
select
    case when :day then day else 0 end, case when :goal then goal else '' end,
    case when :channel then channel else '' end, case when :source then source else '' end,
    case when :medium then medium else '' end, case when :campaign_name then campaign_name else '' end,
    case when :campaign_id then campaign_id else '' end, case when :link_id then link_id else '' end,
    case when :ambassador_id then ambassador_id else '' end, case when :variant then variant else '' end,
    case when :device then device else '' end, case when :landing then landing else '' end,
    case when :currency then currency else '' end,
    sum(share_e9), sum(first_e9), sum(amount), sum(amount_rest), sum(net), sum(net_rest), sum(seconds_e3), sum(timed_e9)
from (
    select
        site_no, day, goal, currency, channel, source, medium, campaign_name, campaign_id, link_id, ambassador_id, variant, device, landing,
        sum(share_e9) as share_e9, sum(first_e9) as first_e9,
        sum(amount_minor / 1000000000) as amount, sum(amount_minor % 1000000000) as amount_rest,
        sum(net_minor / 1000000000) as net, sum(net_minor % 1000000000) as net_rest,
        sum(seconds_e3) as seconds_e3, sum(timed_e9) as timed_e9,
        sum(share_e9 <> 0 or amount_minor <> 0 or net_minor <> 0) as told
    from credit_day
    where site_no = :site_no and day between :from_day and :upto_day
    group by
        site_no, day, goal, currency, channel, source, medium, campaign_name, campaign_id, link_id, ambassador_id, variant, device, landing
)
group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
having sum(told) > 0
order by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13

-- name: goal_days
select
    case when :day then day else 0 end, case when :goal then goal else '' end,
    case when :currency then currency else '' end,
    sum(conversions), sum(unattributed), sum(duplicates), sum(retracted), sum(defaulted), sum(without_order),
    sum(first_of_person), sum(amount_minor / 1000000000), sum(amount_minor % 1000000000),
    sum(net_minor / 1000000000), sum(net_minor % 1000000000), sum(seconds), sum(timed)
from goal_day
where site_no = :site_no and day between :from_day and :upto_day
group by 1, 2, 3
having count(*) filter (where conversions <> 0 or duplicates <> 0) > 0
order by 1, 2, 3

-- name: paths
select a.path, count(*), count(c.amount_minor)
from conversion c join attribution a on a.conversion_id = c.conversion_id and a.version = c.credit_version
where c.site_no = :site_no and c.occurred_at_ms between :after_ms and :upto_ms and (:goal is null or c.goal = :goal)
  and c.fate = 'counted' and c.test = 0 and a.path <> ''
group by a.path
order by 2 desc, 1
limit :limit

-- name: funnel
select goal, coalesce(person_key, visitor_key), occurred_at_ms from conversion
where site_no = :site_no and occurred_at_ms between :after_ms and :upto_ms and fate = 'counted' and test = 0
  and goal in (select value from json_each(:goals))
order by occurred_at_ms

-- name: delivery_fates
select d.destination, d.fate, count(*)
from json_each(:ids) j
cross join event e on e.site_no = :site_no and e.event_id = j.value
cross join delivery d on d.event_seq = e.seq
group by d.destination, d.fate
order by min(j.key), d.destination

-- name: conversions_page
select s.site, c.conversion_id, e.event_id, c.goal, c.goal_version, c.order_id, c.amount_minor, c.currency, c.value_source, c.net_minor, c.click_id, c.coupons, c.campaign_id, c.test, c.fate, c.reason, c.occurred_at_ms, e.received_at_ms, e.trust, e.visitor_key, e.person_key, c.credit_version, e.facts
from conversion c join event e on e.seq = c.event_seq join site s on s.site_no = c.site_no
where c.site_no = :site_no and c.occurred_at_ms between :after_ms and :upto_ms
  and (c.occurred_at_ms > :after_ms or c.conversion_id > :after_id)
  and c.fate <> 'duplicate' and (:goal is null or c.goal = :goal)
  and (:campaign_id is null or :campaign_id <> '' and c.campaign_id = :campaign_id or exists (
    select 1 from credit r
    where r.conversion_id = c.conversion_id and r.version = c.credit_version and r.campaign_id = :campaign_id
  ))
  and (:link_id is null and :ambassador_id is null or exists (
    select 1 from credit r
    where r.conversion_id = c.conversion_id and r.version = c.credit_version
      and (:link_id is null or r.link_id = :link_id) and (:ambassador_id is null or r.ambassador_id = :ambassador_id)
  ))
order by c.occurred_at_ms, c.conversion_id
limit :limit

-- name: check_credit
select c.conversion_id, sum(r.share_e9) is not 1000000000, sum(r.amount_minor) is not c.amount_minor, sum(r.net_minor) is not c.net_minor
from conversion c join credit r on r.conversion_id = c.conversion_id and r.version = c.credit_version
group by c.conversion_id
having sum(r.share_e9) is not 1000000000 or sum(r.amount_minor) is not c.amount_minor or sum(r.net_minor) is not c.net_minor
limit 20

-- name: check_attribution
select c.conversion_id from conversion c
where c.credit_version > 0
  and not exists (select 1 from attribution a where a.conversion_id = c.conversion_id and a.version = c.credit_version)
limit 20

-- name: check_goal_day
select s.site, day, goal, currency from (
    select site_no, day, goal, currency, conversions, unattributed, duplicates, retracted, defaulted, without_order, first_of_person, amount_minor, net_minor, seconds, timed
    from goal_day
    union all
    select c.site_no, c.occurred_at_ms / 86400000, c.goal, coalesce(c.currency, ''), -(c.fate <> 'duplicate'),
        -(c.fate <> 'duplicate' and not exists (
            select 1 from credit r where r.conversion_id = c.conversion_id and r.version = c.credit_version
        )),
        -(c.fate = 'duplicate'), -(c.fate = 'retracted'), -(c.fate <> 'duplicate' and c.value_source = 'default'),
        -(c.fate <> 'duplicate' and c.order_id is null), -coalesce(a.first_of_person, 0),
        case when c.fate = 'duplicate' then 0 else -coalesce(c.amount_minor, 0) end, -coalesce(c.net_minor, 0),
        -coalesce(a.seconds, 0), -(a.seconds is not null)
    from conversion c left join attribution a on a.conversion_id = c.conversion_id and a.version = c.credit_version
    where c.test = 0
) join site s using (site_no)
where day >= (select from_day from sums_whole)
group by s.site, day, goal, currency
having sum(conversions) <> 0 or sum(unattributed) <> 0 or sum(duplicates) <> 0 or sum(retracted) <> 0
    or sum(defaulted) <> 0 or sum(without_order) <> 0 or sum(first_of_person) <> 0 or sum(amount_minor / 1000000000) * 1000000000 + sum(amount_minor % 1000000000) <> 0
    or sum(net_minor / 1000000000) * 1000000000 + sum(net_minor % 1000000000) <> 0 or sum(seconds) <> 0 or sum(timed) <> 0
limit 20

-- name: check_credit_day
select s.site, day, goal, currency from (
    select site_no, day, goal, currency, channel, link_id, ambassador_id, landing, share_e9, amount_minor, net_minor
    from credit_day
    union all
    select c.site_no, c.occurred_at_ms / 86400000, c.goal, coalesce(c.currency, ''), r.channel, r.link_id, r.ambassador_id,
        r.landing, -r.share_e9, -coalesce(r.amount_minor, 0), -coalesce(r.net_minor, 0)
    from conversion c join credit r on r.conversion_id = c.conversion_id and r.version = c.credit_version
    where c.test = 0
) join site s using (site_no)
where day >= (select from_day from sums_whole)
group by s.site, day, goal, currency, channel, link_id, ambassador_id, landing
having sum(share_e9) <> 0 or sum(amount_minor / 1000000000) * 1000000000 + sum(amount_minor % 1000000000) <> 0 or sum(net_minor / 1000000000) * 1000000000 + sum(net_minor % 1000000000) <> 0
limit 20

-- name: check_touch_month
select s.site, month from (
    select site_no, day as month, kind, human, campaign_id, link_id, touches, repeats from touch_month
    union all
    select site_no, day / 30 * 30, kind, human, campaign_id, link_id, -touches, -repeats from touch_day
) join site s using (site_no)
group by s.site, month, kind, human, campaign_id, link_id
having sum(touches) <> 0 or sum(repeats) <> 0
limit 20

-- name: check_credit_month
select s.site, month from (
    select site_no, day as month, goal, currency, link_id, landing, share_e9, first_e9, amount_e9, amount_rest, net_e9, net_rest, seconds_e3, timed_e9
    from credit_month
    union all
    select site_no, day / 30 * 30, goal, currency, link_id, landing, -share_e9, -first_e9, -(amount_minor / 1000000000), -(amount_minor % 1000000000), -(net_minor / 1000000000), -(net_minor % 1000000000), -seconds_e3, -timed_e9
    from credit_day
) join site s using (site_no)
group by s.site, month, goal, currency, link_id, landing
having sum(share_e9) <> 0 or sum(first_e9) <> 0 or sum(amount_e9) * 1000000000 + sum(amount_rest) <> 0 or sum(net_e9) * 1000000000 + sum(net_rest) <> 0
    or sum(seconds_e3) <> 0 or sum(timed_e9) <> 0
limit 20
