-- The consent log and what follows from a choice.

-- name: state_get
select subject_tag, granted, denied, decided_at_ms, notice, record_id from consent_state where site_no = ? and subject_key = ?

-- name: state_put
insert into consent_state (site_no, subject_key, subject_tag, granted, denied, decided_at_ms, notice, record_id)
values (?, ?, ?, ?, ?, ?, ?, ?)
on conflict (site_no, subject_key) do update set
    granted = excluded.granted, denied = excluded.denied, decided_at_ms = excluded.decided_at_ms,
    notice = excluded.notice, record_id = excluded.record_id

-- name: entry_next
select coalesce(max(entry_no) + 1, 0) from consent_entry where site_no = ?

-- name: entry_insert
insert into consent_entry (site_no, entry_no, record_id, entry, leaf_hash) values (?, ?, ?, ?, ?)

-- name: record_insert
insert into consent_record (record_id, site_no, subject_key, salt, payload, received_at_ms) values (?, ?, ?, ?, ?, ?)

-- name: cancel_waiting
update delivery
set fate = 'cancelled', reason = 'consent_withdrawn', detail = cast(purposes & :lost as text), payload = null, leased_until_ms = null, settled_at_ms = :now_ms
where fate = 'waiting' and leased_until_ms is null and (purposes & :lost) != 0
  and delivery_id in (
    select delivery_id from delivery where fate = 'waiting' and visitor_key = :subject_key
    union all
    select delivery_id from delivery where fate = 'waiting' and person_key = :subject_key
  )
returning destination

-- name: sent_of
select d.destination, e.event_id
from subject_event s join event e on e.seq = s.event_seq join delivery d on d.event_seq = e.seq
where s.site_no = :site_no and s.subject_key = :subject_key
  and (d.purposes & :lost) != 0
  and (d.fate in ('accepted', 'unconfirmed') or d.unsure_since_ms is not null or d.leased_until_ms is not null)
order by e.seq

-- name: tell_insert
insert into delivery (site_no, record_id, destination, fate, reason, detail, purposes, judged_at_ms, due_at_ms, expires_at_ms, dedup_key, payload, settled_at_ms)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: entries
select entry_no, record_id, entry, leaf_hash from consent_entry where site_no = ? and entry_no >= ? order by entry_no limit ?
