/*
Access that ends at a moment, and calls counted tool by tool.

INVARIANTS
- The end of a connection is a member of its own: it is compared, merged and audited as such, and toolboxes get it with
  their list. They end the access themselves, by their own clock.
- Of what a toolbox counts, known members are kept and nothing else; a connection has at most 101 entries.
- Only a connection's owner gets its counts by tool.
*/

-- Made again below: a function whose body is an expression over a row keeps its table from getting a column.
drop function if exists dtma.connection_json(public.agent_mcp_connections, public.account_tool_instances,
  public.account_tool_environments, dtma.connection_usage, boolean);

alter table public.agent_mcp_connections add column if not exists expires_at timestamptz;

create or replace trigger stamp before insert or update on public.agent_mcp_connections
  for each row execute function dtma.stamp('connection_config', 'is_active', 'token_hash', 'expires_at');
create or replace trigger audit after insert or update or delete on public.agent_mcp_connections
  for each row execute function dtma.audit('connection', 'id', 'agent_id', 'mcp_server_instance_id', 'connection_config',
    'is_active', 'token_hash', 'expires_at');

-- `boot_tools` is what the DTMA counted since its last start, `tools` over all of them.
alter table dtma.connection_usage add column if not exists boot_tools jsonb not null default '[]';
alter table dtma.connection_usage add column if not exists tools jsonb not null default '[]';

create or replace function dtma.connection_json(c public.agent_mcp_connections, s public.account_tool_instances,
  t public.account_tool_environments, u dtma.connection_usage, p_for_owner boolean) returns json
language sql stable
return json_build_object('id', (c).id, 'agentId', (c).agent_id, 'ownerId', (c).user_id,
  'serverId', (c).mcp_server_instance_id, 'serverName', (s).instance_name_on_toolbox,
  'serverStatus', (s).status_on_toolbox, 'toolboxId', (t).id, 'toolboxName', (t).name,
  'allowedTools', (c).connection_config -> 'allowedTools', 'expiresAt', dtma.ms((c).expires_at), 'isActive', (c).is_active,
  'endpoint', case when p_for_owner and (t).url is not null then json_build_object(
    'url', rtrim((t).url, '/') || '/mcp/servers/' || (s).instance_name_on_toolbox || '/mcp',
    'fingerprint', (t).certificate_fingerprint) end,
  'tokenTag', case when p_for_owner then
    left(encode(sha256(convert_to((c).token_hash, 'UTF8')), 'hex'), 16) end,
  'calls', coalesce((u).calls, 0), 'errors', coalesce((u).errors, 0), 'lastUsedAt', dtma.ms((u).last_used_at),
  'tools', case when p_for_owner then coalesce((u).tools, '[]') end,
  'createdAt', dtma.ms((c).created_at), 'updatedAt', dtma.ms((c).updated_at));

-- null for never; a number beyond what a timestamp can be is none.
create or replace function dtma.is_moment(p jsonb) returns boolean
language sql immutable
return case jsonb_typeof(p) when 'null' then true
  when 'number' then p::numeric between 0 and 253402300799999 and p::numeric = floor(p::numeric) else false end;

create or replace function dtma.put_connection(
  p_person uuid, p_admin boolean, p_id uuid, p_base bigint, p jsonb) returns dtma.outcome
language plpgsql set search_path = '' as $$
declare
  c public.agent_mcp_connections;
  owner uuid;
  s record;
  patch jsonb;
  other record;
  verdict text;
  config jsonb := case when p ? 'allowedTools' then jsonb_build_object('allowedTools', p -> 'allowedTools') end;
  ends_at timestamptz;
begin
  if config is not null and not dtma.is_tool_list(p -> 'allowedTools') then
    return dtma.rejected('INVALID_INPUT', 'allowedTools is null, or a list of at most 2000 names.');
  elsif p ? 'expiresAt' and not dtma.is_moment(p -> 'expiresAt') then
    return dtma.rejected('INVALID_INPUT', 'expiresAt is null, or milliseconds since 1970.');
  end if;
  ends_at := to_timestamp((p ->> 'expiresAt')::numeric / 1000);
  select * into c from public.agent_mcp_connections where id = p_id for no key update;
  if found then
    if c.user_id <> p_person and not p_admin then
      return dtma.not_found('The connection');
    elsif c.agent_id::text <> p ->> 'agentId' or c.mcp_server_instance_id::text <> p ->> 'serverId' then
      return dtma.rejected('INVALID_INPUT', 'A connection keeps its agent and its server.');
    end if;
    patch := dtma.renamed(p, '{"tokenHash": "token_hash"}')
      || case when config is null then '{}' else jsonb_build_object('connection_config', config) end
      || case when p ? 'expiresAt' then jsonb_build_object('expires_at', ends_at) else '{}' end;
    verdict := dtma.compare(to_jsonb(c), patch, c.edits, c.revision, p_base);
    if verdict = 'same' then
      return dtma.applied(p_id, c.revision);
    elsif verdict <> 'apply' then
      return dtma.conflict_of(verdict, p_id, c.revision);
    end if;
    update public.agent_mcp_connections set
      connection_config = coalesce(config, c.connection_config),
      token_hash = coalesce(p ->> 'tokenHash', c.token_hash),
      expires_at = case when p ? 'expiresAt' then ends_at else c.expires_at end
    where id = p_id returning revision into c.revision;
    return dtma.applied(p_id, c.revision);
  end if;
  if dtma.was_deleted('connection', p_id, p_base) then
    return dtma.conflict(p_id, null, 'DELETED', 'The connection was removed in the meantime.');
  end if;
  select a.user_id into owner from public.agents a where a.id = (p ->> 'agentId')::uuid;
  if owner is null or (owner <> p_person and not p_admin) then
    return dtma.not_found('The agent');
  end if;
  select i.mcp_server_type, i.desired_state, i.last_running_at, dtma.may_be_seen(i) as is_running into s
    from public.account_tool_instances i where i.id = (p ->> 'serverId')::uuid;
  -- A link made offline to a server that ran then is still meant when it arrives.
  if s is null or s.mcp_server_type <> 'mcp_server' or s.desired_state = 'deleted'
      or not (s.is_running or s.last_running_at is not null or p_admin) then
    return dtma.rejected('SERVER_NOT_AVAILABLE', 'The server is not running, or does not exist any more.');
  end if;
  if p ->> 'tokenHash' is null then
    return dtma.rejected('INVALID_INPUT', 'A new connection needs tokenHash.');
  end if;
  select o.id, o.revision into other from public.agent_mcp_connections o
    where o.agent_id = (p ->> 'agentId')::uuid and o.mcp_server_instance_id = (p ->> 'serverId')::uuid;
  if found then
    return dtma.conflict(other.id, other.revision, 'ALREADY_CONNECTED', 'The agent is connected to this server already.');
  end if;
  insert into public.agent_mcp_connections
    (id, agent_id, mcp_server_instance_id, user_id, connection_config, token_hash, expires_at)
  values (p_id, (p ->> 'agentId')::uuid, (p ->> 'serverId')::uuid, owner,
    coalesce(config, '{"allowedTools": null}'), p ->> 'tokenHash', ends_at);
  return dtma.applied(p_id, 1);
end
$$;

create or replace function dtma.access_list(p_toolbox uuid) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object('connectionId', c.id, 'server', s.instance_name_on_toolbox,
      'tokenHash', c.token_hash, 'allowedTools', c.connection_config -> 'allowedTools')
    || case when c.expires_at is null then '{}' else jsonb_build_object('expiresAt', dtma.ms(c.expires_at)) end
    order by c.id), '[]')
  from public.account_tool_instances s
  join public.agent_mcp_connections c on c.mcp_server_instance_id = s.id
  join public.agents a on a.id = c.agent_id
  where s.account_tool_environment_id = p_toolbox and s.desired_state <> 'deleted'
    and c.is_active and c.token_hash is not null and a.active
    and exists (select from public.user_roles ur where ur.user_id = c.user_id)
$$;

-- A total that goes on by what a count has grown since.
create or replace function dtma.grown(p_total text, p_before text, p_now text) returns bigint
language sql immutable
return coalesce(p_total::bigint, 0) + greatest(coalesce(p_now::bigint, 0) - coalesce(p_before::bigint, 0), 0);

/* Totals by tool that go on by what the counts of one start have grown since p_before: the last hundred that were used. */
create or replace function dtma.add_tools(p_total jsonb, p_before jsonb, p_now jsonb) returns jsonb
language sql stable set search_path = '' as $$
  with entry as (
    select coalesce(t.tool, n.tool) as tool, t.e as total, b.e as before, n.e as now,
      greatest((t.e ->> 'lastUsedAt')::bigint, 0,
        case when n.e is not null then least((n.e ->> 'lastUsedAt')::bigint, dtma.ms(now())) end) as last_used_at
    from (select distinct on (e ->> 'tool') e ->> 'tool' as tool, e from jsonb_array_elements(p_total) e) t
    full join (select distinct on (left(e ->> 'tool', 256)) left(e ->> 'tool', 256) as tool, e
      from jsonb_array_elements(p_now) e where e ->> 'tool' is not null) n on n.tool = t.tool
    left join (select distinct on (left(e ->> 'tool', 256)) left(e ->> 'tool', 256) as tool, e
      from jsonb_array_elements(p_before) e) b on b.tool = n.tool
    order by last_used_at desc limit 101
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'tool', tool,
    'calls', dtma.grown(total ->> 'calls', before ->> 'calls', now ->> 'calls'),
    'errors', (
      select coalesce(jsonb_object_agg(kind, n) filter (where n > 0), '{}')
      from unnest(array['tool', 'protocol', 'refused', 'limited', 'died', 'ended']) kind,
        dtma.grown(total -> 'errors' ->> kind, before -> 'errors' ->> kind, now -> 'errors' ->> kind) n),
    'latency', (
      select coalesce(jsonb_agg(
        dtma.grown(total -> 'latency' ->> i, before -> 'latency' ->> i, now -> 'latency' ->> i) order by i), '[]')
      from generate_series(0, least(19, greatest(jsonb_array_length(total -> 'latency'),
        jsonb_array_length(now -> 'latency'))) - 1) i),
    'latencySumMs', dtma.grown(total ->> 'latencySumMs', before ->> 'latencySumMs', now ->> 'latencySumMs'),
    'bytesIn', dtma.grown(total ->> 'bytesIn', before ->> 'bytesIn', now ->> 'bytesIn'),
    'bytesOut', dtma.grown(total ->> 'bytesOut', before ->> 'bytesOut', now ->> 'bytesOut'),
    'lastUsedAt', last_used_at) order by tool), '[]')
  from entry
$$;

-- Counts of a DTMA begin at zero with each of its starts; totals go on. A repeated report adds nothing.
create or replace function dtma.store_usage(p_toolbox uuid, p_boot text, p_usage jsonb) returns void
language plpgsql set search_path = '' as $$
declare
  due record;
begin
  insert into dtma.connection_usage as u
    (connection_id, boot_id, boot_calls, boot_errors, calls, errors, last_used_at, boot_tools, tools)
  select distinct on (c.id) c.id, p_boot, greatest(e.calls, 0), greatest(e.errors, 0), greatest(e.calls, 0),
    greatest(e.errors, 0), least(to_timestamp(e."lastUsedAt" / 1000.0), now()), counted.tools, counted.tools
  from jsonb_to_recordset(p_usage) as e ("connectionId" uuid, calls bigint, errors bigint, "lastUsedAt" bigint, tools jsonb)
  join public.agent_mcp_connections c on c.id = e."connectionId"
  join public.account_tool_instances s on s.id = c.mcp_server_instance_id and s.account_tool_environment_id = p_toolbox
  cross join lateral dtma.add_tools('[]', '[]',
    case when jsonb_typeof(e.tools) = 'array' then e.tools else '[]' end) as counted (tools)
  order by c.id, e.calls desc
  on conflict (connection_id) do update set
    boot_id = excluded.boot_id, boot_calls = excluded.boot_calls, boot_errors = excluded.boot_errors,
    calls = u.calls + case when u.boot_id = excluded.boot_id
      then greatest(excluded.boot_calls - u.boot_calls, 0) else excluded.boot_calls end,
    errors = u.errors + case when u.boot_id = excluded.boot_id
      then greatest(excluded.boot_errors - u.boot_errors, 0) else excluded.boot_errors end,
    last_used_at = greatest(u.last_used_at, excluded.last_used_at),
    boot_tools = excluded.boot_tools,
    tools = dtma.add_tools(u.tools,
      case when u.boot_id = excluded.boot_id then u.boot_tools else '[]' end, excluded.boot_tools);

  for due in
    update dtma.connection_usage u set published_calls = u.calls, published_errors = u.errors, published_at = now()
    from public.agent_mcp_connections c
    join public.account_tool_instances s on s.id = c.mcp_server_instance_id
    where c.id = u.connection_id and s.account_tool_environment_id = p_toolbox
      and (u.calls, u.errors) is distinct from (u.published_calls, u.published_errors)
      and (u.published_at is null or u.published_at < now() - interval '1 minute')
    returning c.id, c.user_id, c.revision
  loop
    perform dtma.touch('connection', due.id, null, due.user_id, due.revision, false);
  end loop;
end
$$;

revoke execute on all functions in schema dtma from public, anon, authenticated;
grant execute on function dtma.person_id(), dtma.is_admin(), dtma.is_member() to authenticated;

select dtma.record_migration('20261127000800', 'accounts');
