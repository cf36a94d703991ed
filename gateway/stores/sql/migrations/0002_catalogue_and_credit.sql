-- What operators set up, what conversions are credited with, what changed them afterwards, and the sums that reports read.

create table catalogue (
    site_no integer not null references site,
    kind text not null check (kind in ('campaign', 'link', 'ambassador', 'coupon', 'goal')),
    id text not null,
    folded text not null,
    parent text not null,
    version integer not null,
    changed_at_ms integer not null,
    archived integer not null check (archived in (0, 1)),
    body blob not null,
    primary key (site_no, kind, id)
) strict, without rowid;
create unique index catalogue_code on catalogue (site_no, kind, folded);
create index catalogue_parent on catalogue (site_no, kind, parent, id) where parent <> '';

-- Every version there ever was, so that a number can be explained by the rules it was made under.
create table catalogue_version (
    site_no integer not null,
    kind text not null,
    id text not null,
    version integer not null,
    folded text not null,
    parent text not null,
    changed_at_ms integer not null,
    archived integer not null check (archived in (0, 1)),
    body blob not null,
    primary key (site_no, kind, id, version)
) strict, without rowid;

-- A device was seen to be of a person, under consent. Both are keyed digests.
create table identity_link (
    site_no integer not null references site,
    person_key blob not null,
    visitor_key blob not null,
    at_ms integer not null,
    primary key (site_no, person_key, visitor_key)
) strict, without rowid;
create index identity_link_visitor on identity_link (site_no, visitor_key);
create index identity_link_at on identity_link (at_ms);

-- One decision about one conversion. Older versions stay. `excluded` is JSON: why other touches earned nothing.
create table attribution (
    conversion_id text not null,
    version integer not null,
    model text not null,
    model_version integer not null,
    goal_version integer not null,
    matched_by text not null,
    why text,
    path text not null,
    seconds integer,
    first_of_person integer not null check (first_of_person in (0, 1)),
    computed_at_ms integer not null,
    excluded blob not null,
    primary key (conversion_id, version)
) strict, without rowid;

-- What one touch, or a coupon, earned. Shares are billionths and sum to one; amounts sum to the conversion's.
create table credit (
    conversion_id text not null,
    version integer not null,
    position integer not null,
    touch_no integer,
    kind text not null,
    at_ms integer not null,
    channel text not null,
    source text not null,
    medium text not null,
    campaign_name text not null,
    link_id text not null,
    campaign_id text not null,
    ambassador_id text not null,
    variant text not null,
    device text not null,
    landing text not null,
    share_e9 integer not null,
    amount_minor integer,
    net_minor integer,
    primary key (conversion_id, version, position)
) strict, without rowid;

-- Restatements, retractions and refunds. `conversion_id` is null until the conversion is known.
create table adjustment (
    adjustment_no integer primary key,
    site_no integer not null references site,
    adjustment_id text not null,
    conversion_id text,
    goal text not null,
    order_id text,
    kind text not null check (kind in ('restate', 'retract', 'refund')),
    amount_minor integer,
    currency text,
    reason text not null,
    at_ms integer not null,
    received_at_ms integer not null,
    trust text not null
) strict;
create unique index adjustment_once on adjustment (site_no, adjustment_id);
create index adjustment_conversion on adjustment (conversion_id) where conversion_id is not null;
create index adjustment_waiting on adjustment (site_no, order_id) where conversion_id is null;

create table spend (
    site_no integer not null references site,
    day integer not null,
    campaign_id text not null,
    channel text not null,
    source text not null,
    currency text not null,
    amount_minor integer not null,
    clicks integer,
    impressions integer,
    changed_at_ms integer not null,
    primary key (site_no, day, campaign_id, channel, source, currency)
) strict, without rowid;

-- Sums by day (UTC, days since 1970), kept in the transaction that changes what they sum. Tests are in none of them.
-- `seconds_e3` sums seconds by thousandths of shares: by billionths a busy day would not fit 64 bits.
-- In the keys stands first what reports sum by: rows of a day that are alike in it follow each other, see `report.sql`.
create table touch_day (
    site_no integer not null,
    day integer not null,
    kind text not null,
    channel text not null,
    source text not null,
    medium text not null,
    campaign_name text not null,
    campaign_id text not null,
    link_id text not null,
    ambassador_id text not null,
    variant text not null,
    device text not null,
    human text not null,
    touches integer not null,
    repeats integer not null,
    primary key (site_no, day, kind, human, channel, source, medium, campaign_name, campaign_id, link_id, ambassador_id, variant, device)
) strict, without rowid;

create table credit_day (
    site_no integer not null,
    day integer not null,
    goal text not null,
    channel text not null,
    source text not null,
    medium text not null,
    campaign_name text not null,
    campaign_id text not null,
    link_id text not null,
    ambassador_id text not null,
    variant text not null,
    device text not null,
    landing text not null,
    currency text not null,
    share_e9 integer not null,
    first_e9 integer not null,
    amount_minor integer not null,
    net_minor integer not null,
    seconds_e3 integer not null,
    timed_e9 integer not null,
    primary key (site_no, day, goal, currency, channel, source, medium, campaign_name, campaign_id, link_id, ambassador_id, variant, device, landing)
) strict, without rowid;

-- The same by months, so that a year is not read day by day. A month is 30 days, and `day` is its first: a multiple of 30.
-- Triggers keep them, in the transaction that changes a day and by what it changes. Amounts are kept in two parts, thousands
-- of millions and the rest: no month of the largest amounts overflows 64 bits, whatever is added and taken back.
create table touch_month (
    site_no integer not null,
    day integer not null,
    kind text not null,
    channel text not null,
    source text not null,
    medium text not null,
    campaign_name text not null,
    campaign_id text not null,
    link_id text not null,
    ambassador_id text not null,
    variant text not null,
    device text not null,
    human text not null,
    touches integer not null,
    repeats integer not null,
    primary key (site_no, day, kind, human, channel, source, medium, campaign_name, campaign_id, link_id, ambassador_id, variant, device)
) strict, without rowid;

create table credit_month (
    site_no integer not null,
    day integer not null,
    goal text not null,
    channel text not null,
    source text not null,
    medium text not null,
    campaign_name text not null,
    campaign_id text not null,
    link_id text not null,
    ambassador_id text not null,
    variant text not null,
    device text not null,
    landing text not null,
    currency text not null,
    share_e9 integer not null,
    first_e9 integer not null,
    amount_e9 integer not null,
    amount_rest integer not null,
    net_e9 integer not null,
    net_rest integer not null,
    seconds_e3 integer not null,
    timed_e9 integer not null,
    primary key (site_no, day, goal, currency, channel, source, medium, campaign_name, campaign_id, link_id, ambassador_id, variant, device, landing)
) strict, without rowid;

create trigger touch_day_begun after insert on touch_day begin
    insert into touch_month (site_no, day, kind, channel, source, medium, campaign_name, campaign_id, link_id, ambassador_id, variant, device, human, touches, repeats)
    values (new.site_no, new.day / 30 * 30, new.kind, new.channel, new.source, new.medium, new.campaign_name, new.campaign_id, new.link_id, new.ambassador_id, new.variant, new.device, new.human, new.touches, new.repeats)
    on conflict do update set
        touches = touches + excluded.touches, repeats = repeats + excluded.repeats;
end;

create trigger touch_day_changed after update on touch_day begin
    insert into touch_month (site_no, day, kind, channel, source, medium, campaign_name, campaign_id, link_id, ambassador_id, variant, device, human, touches, repeats)
    values (new.site_no, new.day / 30 * 30, new.kind, new.channel, new.source, new.medium, new.campaign_name, new.campaign_id, new.link_id, new.ambassador_id, new.variant, new.device, new.human, new.touches - old.touches, new.repeats - old.repeats)
    on conflict do update set
        touches = touches + excluded.touches, repeats = repeats + excluded.repeats;
end;

create trigger credit_day_begun after insert on credit_day begin
    insert into credit_month (site_no, day, goal, channel, source, medium, campaign_name, campaign_id, link_id, ambassador_id, variant, device, landing, currency, share_e9, first_e9, amount_e9, amount_rest, net_e9, net_rest, seconds_e3, timed_e9)
    values (new.site_no, new.day / 30 * 30, new.goal, new.channel, new.source, new.medium, new.campaign_name, new.campaign_id, new.link_id, new.ambassador_id, new.variant, new.device, new.landing, new.currency, new.share_e9, new.first_e9, new.amount_minor / 1000000000, new.amount_minor % 1000000000, new.net_minor / 1000000000, new.net_minor % 1000000000, new.seconds_e3, new.timed_e9)
    on conflict do update set
        share_e9 = share_e9 + excluded.share_e9, first_e9 = first_e9 + excluded.first_e9,
        amount_e9 = amount_e9 + excluded.amount_e9, amount_rest = amount_rest + excluded.amount_rest,
        net_e9 = net_e9 + excluded.net_e9, net_rest = net_rest + excluded.net_rest,
        seconds_e3 = seconds_e3 + excluded.seconds_e3, timed_e9 = timed_e9 + excluded.timed_e9;
end;

create trigger credit_day_changed after update on credit_day begin
    insert into credit_month (site_no, day, goal, channel, source, medium, campaign_name, campaign_id, link_id, ambassador_id, variant, device, landing, currency, share_e9, first_e9, amount_e9, amount_rest, net_e9, net_rest, seconds_e3, timed_e9)
    values (new.site_no, new.day / 30 * 30, new.goal, new.channel, new.source, new.medium, new.campaign_name, new.campaign_id, new.link_id, new.ambassador_id, new.variant, new.device, new.landing, new.currency, new.share_e9 - old.share_e9, new.first_e9 - old.first_e9, new.amount_minor / 1000000000 - old.amount_minor / 1000000000, new.amount_minor % 1000000000 - old.amount_minor % 1000000000, new.net_minor / 1000000000 - old.net_minor / 1000000000, new.net_minor % 1000000000 - old.net_minor % 1000000000, new.seconds_e3 - old.seconds_e3, new.timed_e9 - old.timed_e9)
    on conflict do update set
        share_e9 = share_e9 + excluded.share_e9, first_e9 = first_e9 + excluded.first_e9,
        amount_e9 = amount_e9 + excluded.amount_e9, amount_rest = amount_rest + excluded.amount_rest,
        net_e9 = net_e9 + excluded.net_e9, net_rest = net_rest + excluded.net_rest,
        seconds_e3 = seconds_e3 + excluded.seconds_e3, timed_e9 = timed_e9 + excluded.timed_e9;
end;

create table goal_day (
    site_no integer not null,
    day integer not null,
    goal text not null,
    currency text not null,
    conversions integer not null,
    unattributed integer not null,
    duplicates integer not null,
    retracted integer not null,
    defaulted integer not null,
    without_order integer not null,
    first_of_person integer not null,
    amount_minor integer not null,
    net_minor integer not null,
    seconds integer not null,
    timed integer not null,
    primary key (site_no, day, goal, currency)
) strict, without rowid;

-- Things to be done at a time, such as telling of a checkout that was left. `payload` is sealed.
create table timer (
    timer_no integer primary key,
    site_no integer not null references site,
    kind text not null,
    subject_key blob not null,
    due_at_ms integer not null,
    leased_until_ms integer,
    payload blob not null
) strict;
create unique index timer_once on timer (site_no, subject_key, kind);
create index timer_due on timer (due_at_ms);

-- Sums outlive what they sum. Those of days before this one hold conversions that are deleted.
create table sums_whole (
    only_row integer primary key check (only_row = 1),
    from_day integer not null
) strict;
insert into sums_whole values (1, 0);
