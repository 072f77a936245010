/*
Reading: who am I, what changed, what a server can do, who answers.

INVARIANTS
- Rows are built here and nowhere else, with what the reader may see and no more. They are json, which is text and
  cheap to put together, not jsonb.
- sync_pull reads one snapshot: it is stable, and shows entries whose xid is older than that snapshot's xmin.
- Cost follows the number of entries after the cursor that concern the reader, not the size of the tables.
*/

-- Stable and not immutable, because extract is: only so it is inlined, and not called three times for every row.
create or replace function dtma.ms(p_at timestamptz) returns bigint
language sql stable
return floor(extract(epoch from p_at) * 1000)::bigint;

create or replace function dtma.roles_of(p_person uuid) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(r.name order by r.name), '[]')
  from public.user_roles ur join public.roles r on r.id = ur.role_id where ur.user_id = p_person
$$;

create or replace function dtma.person_json(p public.people) returns json
language sql stable set search_path = '' as $$
  select json_build_object('id', p.id, 'name', p.name, 'email', p.email, 'loginRole', p.login_role,
    'roles', dtma.roles_of(p.id), 'createdAt', dtma.ms(p.created_at))
$$;

create or replace function dtma.toolbox_json(t public.account_tool_environments) returns json
language sql stable
return json_build_object('id', (t).id, 'name', (t).name, 'kind', (t).kind, 'description', (t).description,
  'url', (t).url, 'fingerprint', (t).certificate_fingerprint, 'canReport', (t).dtma_bearer_token is not null,
  'status', (t).status, 'dtmaVersion', (t).dtma_last_known_version, 'health', (t).dtma_health_details_json,
  'droplet', case when (t).do_droplet_id is not null then json_build_object('id', (t).do_droplet_id::text,
    'name', (t).do_droplet_name, 'address', host((t).public_ip_address), 'region', (t).region_slug,
    'size', (t).size_slug, 'image', (t).image_slug) end,
  'createdBy', (t).user_id, 'createdAt', dtma.ms((t).created_at), 'updatedAt', dtma.ms((t).updated_at));

create or replace function dtma.template_json(t public.tool_catalog) returns json
language sql stable
return json_build_object('id', (t).slug, 'definition', (t).definition, 'isPublic', (t).is_public, 'status', (t).status,
  'createdAt', dtma.ms((t).created_at), 'updatedAt', dtma.ms((t).updated_at));

create or replace function dtma.server_json(
  s public.account_tool_instances, p_toolbox_name text, p_template_title text, p_for_admin boolean) returns json
language sql stable
return json_build_object('id', (s).id, 'toolboxId', (s).account_tool_environment_id, 'toolboxName', p_toolbox_name,
  'name', (s).instance_name_on_toolbox, 'templateId', (s).template_slug, 'templateTitle', p_template_title,
  'description', (s).description, 'transport', (s).mcp_transport_type, 'version', (s).version,
  'status', (s).status_on_toolbox,
  'tools', case when (s).tools_hash is not null then json_build_object(
    'hash', (s).tools_hash, 'count', (s).tools_count, 'at', dtma.ms((s).tools_at)) end,
  'createdAt', dtma.ms((s).created_at), 'updatedAt', dtma.ms((s).updated_at),
  'admin', case when p_for_admin then json_build_object(
    'spec', (s).spec, 'desired', (s).desired_state, 'reported', (s).reported) end);

create or replace function dtma.agent_json(a public.agents) returns json
language sql stable
return json_build_object('id', (a).id, 'ownerId', (a).user_id, 'name', (a).name, 'description', (a).description,
  'isActive', (a).active, 'metadata', (a).metadata,
  'createdAt', dtma.ms((a).created_at), 'updatedAt', dtma.ms((a).updated_at));

create or replace function dtma.connection_json(c public.agent_mcp_connections, s public.account_tool_instances,
  t public.account_tool_environments, u dtma.connection_usage, p_for_owner boolean) returns json
language sql stable
return json_build_object('id', (c).id, 'agentId', (c).agent_id, 'ownerId', (c).user_id,
  'serverId', (c).mcp_server_instance_id, 'serverName', (s).instance_name_on_toolbox,
  'serverStatus', (s).status_on_toolbox, 'toolboxId', (t).id, 'toolboxName', (t).name,
  'allowedTools', (c).connection_config -> 'allowedTools', 'isActive', (c).is_active,
  'endpoint', case when p_for_owner and (t).url is not null then json_build_object(
    'url', rtrim((t).url, '/') || '/mcp/servers/' || (s).instance_name_on_toolbox || '/mcp',
    'fingerprint', (t).certificate_fingerprint) end,
  'tokenTag', case when p_for_owner then
    left(encode(sha256(convert_to((c).token_hash, 'UTF8')), 'hex'), 16) end,
  'calls', coalesce((u).calls, 0), 'errors', coalesce((u).errors, 0), 'lastUsedAt', dtma.ms((u).last_used_at),
  'createdAt', dtma.ms((c).created_at), 'updatedAt', dtma.ms((c).updated_at));

-- The row as a person may see it; null when it is gone or hidden.
create or replace function dtma.row_json(p_entity text, p_id uuid, p_person uuid, p_is_admin boolean) returns json
language plpgsql stable set search_path = '' as $$
begin
  case p_entity
    when 'person' then
      return (select dtma.person_json(p) from public.people p where p.id = p_id and (p_is_admin or p.id = p_person));
    when 'toolbox' then
      return (select dtma.toolbox_json(t) from public.account_tool_environments t where t.id = p_id and p_is_admin);
    when 'template' then
      return (select dtma.template_json(t) from public.tool_catalog t
        where t.id = p_id and (p_is_admin or (t.is_public and t.status <> 'archived')));
    when 'server' then
      return (select dtma.server_json(s, t.name, c.name, p_is_admin)
        from public.account_tool_instances s
        join public.account_tool_environments t on t.id = s.account_tool_environment_id
        left join public.tool_catalog c on c.id = s.tool_catalog_id
        where s.id = p_id and (p_is_admin or dtma.may_be_seen(s)));
    when 'agent' then
      return (select dtma.agent_json(a) from public.agents a where a.id = p_id and (p_is_admin or a.user_id = p_person));
    when 'connection' then
      return (select dtma.connection_json(c, s, t, u, c.user_id = p_person)
        from public.agent_mcp_connections c
        join public.account_tool_instances s on s.id = c.mcp_server_instance_id
        join public.account_tool_environments t on t.id = s.account_tool_environment_id
        left join dtma.connection_usage u on u.connection_id = c.id
        where c.id = p_id and (p_is_admin or c.user_id = p_person));
  end case;
end
$$;

create or replace function dtma.who(p_person uuid) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'protocol', 1,
    'schemaVersion', (select max(m.version) from dtma.schema_migrations m),
    'workspaceId', w.id, 'workspaceName', w.name, 'joinPolicy', w.join_policy,
    'userId', p.id, 'name', p.name, 'email', p.email, 'roles', dtma.roles_of(p.id),
    'now', dtma.ms(clock_timestamp()))
  from dtma.workspace w, public.people p where p.id = p_person
$$;

create or replace function public.sync_whoami() returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  person uuid := dtma.person_id();
  claims jsonb;
  address text;
begin
  if person is null then
    perform dtma.refuse('NOT_SIGNED_IN', 'Nobody is signed in with this session.');
  end if;
  -- Only an account of Supabase can get here without a row: a login role is known by its row.
  if not exists (select from public.people p where p.id = person) then
    claims := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
    address := left(claims ->> 'email', 320);
    insert into public.people (id, name, email)
    values (person, coalesce(nullif(left(btrim(split_part(address, '@', 1)), 80), ''), 'New person'), address)
    on conflict (id) do nothing;
    if found and (select w.join_policy from dtma.workspace w) = 'open' then
      insert into public.user_roles (user_id, role_id) select person, r.id from public.roles r where r.name = 'user'
      on conflict do nothing;
    end if;
  end if;
  return dtma.who(person);
end
$$;

create or replace function public.sync_pull(p_cursor jsonb default null, p_limit integer default 1000) returns json
language plpgsql stable security definer set search_path = ''
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
  person uuid := dtma.must_be_member();
  sees_all boolean := dtma.has_role(person, 'admin');
  view_name text := case when sees_all then 'admin' else 'user' end;
  feed text := (select w.feed_id from dtma.workspace w);
  horizon xid8 := pg_snapshot_xmin(pg_current_snapshot());
  everybody uuid := dtma.everybody();
  is_reset boolean;
  base xid8;
  after_xid xid8;
  after_seq bigint;
  count integer;
  changes json;
begin
  p_cursor := dtma.argument(p_cursor);
  if p_limit is null or p_limit not between 1 and 5000 then
    perform dtma.refuse('INVALID_INPUT', 'p_limit is from 1 to 5000.');
  end if;
  if jsonb_typeof(p_cursor) = 'object' and (p_cursor ->> 'base' ~ '^\d{1,19}$' and p_cursor ->> 'xid' ~ '^\d{1,19}$'
      and p_cursor ->> 'seq' ~ '^\d{1,18}$') is not true then
    perform dtma.refuse('INVALID_INPUT', 'This is no cursor of sync_pull.');
  end if;
  is_reset := (p_cursor ->> 'feed' = feed and p_cursor ->> 'reader' = person::text and p_cursor ->> 'view' = view_name
    and (p_cursor ->> 'xid')::xid8 < horizon) is not true;
  base := case when is_reset then horizon else (p_cursor ->> 'base')::xid8 end;
  after_xid := case when is_reset then '0' else p_cursor ->> 'xid' end::xid8;
  after_seq := case when is_reset then 0 else (p_cursor ->> 'seq')::bigint end;

  with page as materialized (
    select c.* from dtma.sync_changes c
    where sees_all and (c.xid, c.seq) > (after_xid, after_seq) and c.xid < horizon
    order by c.xid, c.seq limit case when sees_all then p_limit else 0 end
  ), mine as materialized (
    select c.* from (
      (select c.* from dtma.sync_changes c
        where c.reader = everybody and (c.xid, c.seq) > (after_xid, after_seq) and c.xid < horizon
        order by c.xid, c.seq limit case when sees_all then 0 else p_limit end)
      union all
      (select c.* from dtma.sync_changes c
        where c.reader = person and (c.xid, c.seq) > (after_xid, after_seq) and c.xid < horizon
        order by c.xid, c.seq limit case when sees_all then 0 else p_limit end)) c
    order by c.xid, c.seq limit p_limit
  ), entry as materialized (
    select * from page union all select * from mine
  ), with_row as (
    select e.*, case e.entity
        when 'connection' then (
          select dtma.connection_json(c, s, t, u, c.user_id = person)
          from public.agent_mcp_connections c
          join public.account_tool_instances s on s.id = c.mcp_server_instance_id
          join public.account_tool_environments t on t.id = s.account_tool_environment_id
          left join dtma.connection_usage u on u.connection_id = c.id
          where c.id = e.id)
        when 'server' then (
          select dtma.server_json(s, t.name, c.name, sees_all)
          from public.account_tool_instances s
          join public.account_tool_environments t on t.id = s.account_tool_environment_id
          left join public.tool_catalog c on c.id = s.tool_catalog_id
          where s.id = e.id and (sees_all or dtma.may_be_seen(s)))
        when 'agent' then (select dtma.agent_json(a) from public.agents a where a.id = e.id)
        else dtma.row_json(e.entity, e.id, person, sees_all) end as row
    from entry e
  )
  select count(*), (array_agg(w.xid order by w.xid desc, w.seq desc))[1], (array_agg(w.seq order by w.xid desc, w.seq desc))[1],
    json_agg(json_build_object('entity', w.entity, 'id', coalesce(w.key, w.id::text), 'revision', w.revision, 'row', w.row)
      order by w.xid, w.seq) filter (where w.row is not null or w.xid >= base)
  into count, after_xid, after_seq, changes from with_row w;

  if count = 0 then
    after_xid := case when is_reset then '0' else p_cursor ->> 'xid' end::xid8;
    after_seq := case when is_reset then 0 else (p_cursor ->> 'seq')::bigint end;
  end if;
  return json_build_object(
    'cursor', json_build_object('feed', feed, 'reader', person, 'view', view_name, 'base', base::text,
      'xid', after_xid::text, 'seq', after_seq::text),
    'changes', coalesce(changes, '[]'),
    'more', count = p_limit,
    'reset', is_reset,
    'heldBack', exists (
      select from dtma.sync_changes c
      where c.xid >= horizon and (sees_all or c.reader = everybody or c.reader = person)));
end
$$;

create or replace function public.sync_tools(p_hashes jsonb) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  person uuid := dtma.must_be_member();
  sees_all boolean := dtma.has_role(person, 'admin');
begin
  p_hashes := dtma.argument(p_hashes);
  if jsonb_typeof(p_hashes) is distinct from 'array' or jsonb_array_length(p_hashes) > 200 then
    perform dtma.refuse('INVALID_INPUT', 'p_hashes is a list of at most 200 hashes.');
  end if;
  return jsonb_build_object('tools', coalesce((
    select jsonb_object_agg(t.hash, t.items) from dtma.toolsets t
    where t.hash in (select jsonb_array_elements_text(p_hashes)) and exists (
      select from public.account_tool_instances s where s.tools_hash = t.hash and (sees_all or dtma.may_be_seen(s)))), '{}'));
end
$$;

-- Milliseconds between reports: five seconds, and more for very many toolboxes, so that reports stay a small load.
create or replace function dtma.report_interval_ms() returns integer
language sql stable set search_path = '' as $$
  select greatest(w.report_interval_ms,
    10 * (select count(*) from public.account_tool_environments t where t.dtma_bearer_token is not null))::integer
  from dtma.workspace w
$$;

-- Since when a toolbox counts as unresponsive: last report + 2 × interval + 20 s, once that has passed.
create or replace function dtma.unresponsive_since(p_last timestamptz, p_interval_ms integer, p_now timestamptz) returns timestamptz
language sql immutable
return case when p_last + (2 * p_interval_ms + 20000) * interval '1 millisecond' < p_now
  then p_last + (2 * p_interval_ms + 20000) * interval '1 millisecond' end;

create or replace function public.sync_liveness() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  person uuid := dtma.must_be_member();
  sees_all boolean := dtma.has_role(person, 'admin');
  interval_ms integer := dtma.report_interval_ms();
  at timestamptz := clock_timestamp();
begin
  return jsonb_build_object('now', dtma.ms(at), 'toolboxes', coalesce((
    select jsonb_agg(jsonb_build_object('id', t.id, 'lastReportAt', dtma.ms(t.last_heartbeat_at),
      'unresponsiveSince', dtma.ms(dtma.unresponsive_since(t.last_heartbeat_at, interval_ms, at)),
      'dockerDownSince', case when t.dtma_health_details_json #>> '{docker,state}' = 'down'
        then t.dtma_health_details_json #> '{docker,since}' end))
    from public.account_tool_environments t
    where sees_all
      or exists (select from public.account_tool_instances s
        where s.account_tool_environment_id = t.id and dtma.may_be_seen(s))
      or t.id in (select s.account_tool_environment_id
        from public.agent_mcp_connections c join public.account_tool_instances s on s.id = c.mcp_server_instance_id
        where c.user_id = person)), '[]'));
end
$$;

create or replace function public.sync_loads(p_toolbox uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform dtma.must_be_admin();
  return (
    select jsonb_build_object('at', dtma.ms(r.at), 'host', r.load, 'servers', coalesce((
      select jsonb_object_agg(s.id, coalesce(sr.load, '{}') || jsonb_build_object('sessions', sr.sessions))
      from public.account_tool_instances s join dtma.server_reports sr on sr.server_id = s.id
      where s.account_tool_environment_id = p_toolbox), '{}'))
    from (select p_toolbox as id) wanted left join dtma.toolbox_reports r on r.toolbox_id = wanted.id);
end
$$;

create or replace function public.sync_audit(p_before bigint default null, p_limit integer default 100) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  person uuid := dtma.must_be_member();
  sees_all boolean := dtma.has_role(person, 'admin');
  entries jsonb;
begin
  if p_limit is null or p_limit not between 1 and 1000 then
    perform dtma.refuse('INVALID_INPUT', 'p_limit is from 1 to 1000.');
  end if;
  select coalesce(jsonb_agg(jsonb_build_object('id', l.id, 'at', dtma.ms(l.at), 'actorId', l.actor_id,
      'actorKind', l.actor_kind, 'action', l.action, 'entity', l.entity, 'entityId', l.entity_id, 'changes', l.changes)
      order by l.id desc), '[]') into entries
    from (select * from public.audit_log a
      where (p_before is null or a.id < p_before) and (sees_all or a.actor_id = person)
      order by a.id desc limit p_limit) l;
  return jsonb_build_object('entries', entries, 'more', jsonb_array_length(entries) = p_limit);
end
$$;

revoke execute on function public.sync_whoami(), public.sync_pull(jsonb, integer), public.sync_tools(jsonb),
  public.sync_liveness(), public.sync_loads(uuid), public.sync_audit(bigint, integer) from public, anon, authenticated;
grant execute on function public.sync_whoami(), public.sync_pull(jsonb, integer), public.sync_tools(jsonb),
  public.sync_liveness(), public.sync_loads(uuid), public.sync_audit(bigint, integer) to authenticated;
revoke execute on all functions in schema dtma from public, anon, authenticated;
grant execute on function dtma.person_id(), dtma.is_admin(), dtma.is_member() to authenticated;

select dtma.record_migration('20261123000400', 'pull');
