-- The catalogue: campaigns, links, ambassadors, coupons, goals, with every version they had; and timers.

-- name: entry_version
select version from catalogue where site_no = ? and kind = ? and id = ?

-- name: entry_insert
insert into catalogue (site_no, kind, id, folded, parent, version, changed_at_ms, archived, body)
values (:site_no, :kind, :id, :folded, :parent, :version, :changed_at_ms, :archived, :body)
on conflict do nothing

-- name: entry_update
update or ignore catalogue
set folded = :folded, parent = :parent, version = :version, changed_at_ms = :changed_at_ms, archived = :archived, body = :body
where site_no = :site_no and kind = :kind and id = :id

-- name: entry_keep
insert into catalogue_version (site_no, kind, id, version, folded, parent, changed_at_ms, archived, body)
values (:site_no, :kind, :id, :version, :folded, :parent, :changed_at_ms, :archived, :body)

-- name: entry_get
select kind, id, folded, parent, version, changed_at_ms, archived, body from catalogue
where site_no = ? and kind = ? and id = ?

-- name: entry_get_version
select kind, id, folded, parent, version, changed_at_ms, archived, body from catalogue_version
where site_no = ? and kind = ? and id = ? and version = ?

-- name: entry_by_code
select kind, id, folded, parent, version, changed_at_ms, archived, body from catalogue
where site_no = ? and kind = ? and folded = ?

-- name: entries
select kind, id, folded, parent, version, changed_at_ms, archived, body from catalogue
where site_no = ? and kind = ? and id > ? order by id limit ?

-- name: entries_of
select kind, id, folded, parent, version, changed_at_ms, archived, body from catalogue indexed by catalogue_parent
where site_no = ? and kind = ? and parent = ? and parent <> '' and id > ? order by id limit ?

-- name: timer_set
insert into timer (site_no, kind, subject_key, due_at_ms, payload) values (?, ?, ?, ?, ?)
on conflict (site_no, subject_key, kind) do update
set due_at_ms = excluded.due_at_ms, leased_until_ms = null, payload = excluded.payload

-- name: timer_stop
delete from timer where site_no = ? and kind = ? and subject_key = ?

-- name: timer_claim
update timer set leased_until_ms = :leased_until_ms
where timer_no in (
    select timer_no from timer
    where due_at_ms <= :now_ms and (leased_until_ms is null or leased_until_ms <= :now_ms)
    order by due_at_ms, timer_no
    limit :limit
)
returning timer_no, site_no, kind, subject_key, due_at_ms, payload

-- name: timers
select timer_no, kind, subject_key, due_at_ms, payload from timer where site_no = ? and kind = ? order by due_at_ms, timer_no

-- name: timer_finish
delete from timer where timer_no = ? and due_at_ms = ? and payload = ?

-- name: timer_erase
delete from timer where site_no = ? and subject_key = ?
