-- The first floor: events, conversions, touches, deliveries with their attempts, the consent log, API keys.
-- Nothing personal in the clear: visitors and persons are keyed digests, payloads are sealed.
-- Times are milliseconds since 1970 UTC. Purposes are bit sets (see gateway/purposes.py).

create table site (
    site_no integer primary key,
    site text not null unique
) strict;

create table event (
    seq integer primary key,
    site_no integer not null references site,
    event_id text not null,
    name text not null,
    trust text not null check (trust in ('browser', 'server', 'signed', 'token')),
    occurred_at_ms integer not null,
    received_at_ms integer not null,
    visitor_kind text not null check (visitor_kind in ('signed', 'daily', 'none')),
    visitor_key blob,
    person_key blob,
    facts blob not null
) strict;
create unique index event_once on event (site_no, event_id);
create index event_person on event (site_no, person_key) where person_key is not null;

-- To find all that is held of one visitor: for withdrawals, disclosure and erasure. Written by a worker in sorted portions
-- some seconds later: an index kept with every event would write a page of its own for each, because keys are random.
create table visitor_event (
    site_no integer not null,
    visitor_key blob not null,
    event_seq integer not null,
    primary key (site_no, visitor_key, event_seq)
) strict, without rowid;

create table visitor_listed (
    only_row integer primary key check (only_row = 1),
    upto_seq integer not null
) strict;
insert into visitor_listed values (1, 0);

-- All events of a subject, by the digest of a visitor or a person; the newest are found in the table itself.
create view subject_event as
    select site_no, visitor_key as subject_key, event_seq from visitor_event
    union all
    select +site_no, +visitor_key, seq from event -- the plus keeps it to the newest rows, away from other indexes
    where seq > (select upto_seq from visitor_listed) and visitor_key is not null
    union all
    select site_no, person_key, seq from event where person_key is not null;

-- `net_minor` is what is left after adjustments. `credit_version` 0: not credited yet. Visitor and person are those of its
-- event, of what counts only: by them a person's earlier conversions are found.
create table conversion (
    conversion_id text primary key,
    site_no integer not null references site,
    event_seq integer not null references event,
    goal text not null,
    goal_version integer not null default 0,
    claim_key text not null,
    order_id text,
    amount_minor integer,
    currency text,
    value_source text not null default 'event' check (value_source in ('event', 'default', 'none')),
    net_minor integer,
    click_id text,
    coupons text not null default '',
    campaign_id text not null default '',
    test integer not null check (test in (0, 1)),
    fate text not null check (fate in ('counted', 'duplicate', 'retracted')),
    reason text not null,
    counted_id text,
    occurred_at_ms integer not null,
    visitor_key blob,
    person_key blob,
    credit_version integer not null default 0,
    credit_due_ms integer
) strict, without rowid;
create unique index conversion_once on conversion (site_no, goal, claim_key) where fate <> 'duplicate';
create index conversion_event on conversion (event_seq);
create index conversion_order on conversion (site_no, order_id) where order_id is not null and fate <> 'duplicate';
create index conversion_at on conversion (site_no, occurred_at_ms);
create index conversion_visitor on conversion (site_no, visitor_key, goal, occurred_at_ms) where visitor_key is not null;
create index conversion_person on conversion (site_no, person_key, goal, occurred_at_ms) where person_key is not null;
create index conversion_credit_due on conversion (credit_due_ms) where credit_due_ms is not null;

-- Contacts that may earn a conversion. A click on a link is one without an event; a landing has the event it came with.
create table touch (
    touch_no integer primary key,
    site_no integer not null references site,
    event_seq integer references event,
    kind text not null check (kind in ('click', 'qr', 'call', 'referral', 'view', 'direct')),
    visitor_key blob,
    occurred_at_ms integer not null,
    referrer text,
    campaign blob,
    click_ids blob,
    channel text not null,
    source text not null,
    medium text not null,
    campaign_name text not null,
    link_id text not null,
    campaign_id text not null,
    ambassador_id text not null,
    variant text not null,
    click_id text,
    landed_click_id text,
    device text not null,
    os text not null,
    browser text not null,
    landing text not null,
    human text not null check (human in ('yes', 'no', 'suspect')),
    human_reason text not null,
    consent integer not null check (consent in (0, 1)),
    test integer not null check (test in (0, 1)),
    repeats integer not null default 0
) strict;
create index touch_visitor on touch (site_no, visitor_key, occurred_at_ms) where visitor_key is not null;
create index touch_event on touch (event_seq) where event_seq is not null;
create unique index touch_click on touch (site_no, click_id) where click_id is not null;
create index touch_at on touch (occurred_at_ms) where event_seq is null;

-- One event owed to one destination; with a record_id instead of an event: a destination to be told of the withdrawal or
-- erasure of that record. Such rows name no visitor and no person.
create table delivery (
    delivery_id integer primary key,
    site_no integer not null references site,
    event_seq integer references event,
    record_id text,
    destination text not null,
    fate text not null check (
        fate in ('waiting', 'accepted', 'rejected', 'withheld', 'unfit', 'cancelled', 'dead', 'unconfirmed')
    ),
    reason text not null,
    detail text,
    purposes integer not null,
    visitor_key blob,
    person_key blob,
    judged_at_ms integer not null,
    due_at_ms integer not null,
    leased_until_ms integer,
    attempts integer not null default 0,
    unsure_since_ms integer,
    expires_at_ms integer not null,
    dedup_key text,
    payload blob,
    settled_at_ms integer,
    check ((fate in ('waiting', 'dead')) or payload is null),
    check ((event_seq is null) <> (record_id is null))
) strict;
create unique index delivery_once on delivery (event_seq, destination);
create index delivery_record on delivery (record_id) where record_id is not null;
create index delivery_due on delivery (site_no, destination, due_at_ms) where fate = 'waiting';
create index delivery_visitor on delivery (visitor_key) where fate = 'waiting' and visitor_key is not null;
create index delivery_person on delivery (person_key) where fate = 'waiting' and person_key is not null;
create index delivery_dead on delivery (site_no, destination, settled_at_ms) where fate = 'dead';

create table attempt (
    attempt_no integer primary key,
    delivery_id integer not null references delivery,
    at_ms integer not null,
    latency_ms integer not null,
    verdict text not null,
    status integer,
    code text,
    answer text
) strict;
create index attempt_delivery on attempt (delivery_id);
create index attempt_at on attempt (at_ms);

-- The consent log: entries are canonical bytes with their RFC 6962 leaf hashes, numbered from 0 per site, never changed.
create table consent_entry (
    site_no integer not null references site,
    entry_no integer not null,
    record_id text not null unique,
    entry blob not null,
    leaf_hash blob not null,
    primary key (site_no, entry_no)
) strict, without rowid;

-- What an entry commits to. Deleting a row erases the person; the entry stays and says nothing without the salt.
create table consent_record (
    record_id text primary key,
    site_no integer not null references site,
    subject_key blob,
    salt blob not null,
    payload blob not null,
    received_at_ms integer not null
) strict, without rowid;
create index consent_record_subject on consent_record (site_no, subject_key);

-- The last choice of everyone who made one, and the random tag that stands for them in the log.
create table consent_state (
    site_no integer not null references site,
    subject_key blob not null,
    subject_tag blob not null,
    granted integer not null,
    denied integer not null,
    decided_at_ms integer not null,
    notice text not null,
    record_id text not null,
    primary key (site_no, subject_key)
) strict, without rowid;

create table once_token (
    use text not null,
    digest blob not null,
    expires_at_ms integer not null,
    primary key (use, digest)
) strict, without rowid;
create index once_token_expiry on once_token (expires_at_ms);

create table idempotency (
    api_key_id text not null,
    idempotency_key text not null,
    body_sha256 blob not null,
    recorded blob not null,
    created_at_ms integer not null,
    primary key (api_key_id, idempotency_key)
) strict, without rowid;
create index idempotency_created on idempotency (created_at_ms);

create table api_key (
    api_key_id text primary key,
    secret_sha256 blob not null,
    title text not null,
    sites text not null,
    rights text not null,
    must_sign integer not null check (must_sign in (0, 1)),
    created_at_ms integer not null,
    revoked_at_ms integer
) strict, without rowid;
