/*
Who somebody is: roles of the database, people, and the roles they have in this workspace.

INVARIANTS
- A call belongs to the person whose login role opened the session, else to auth.uid(). A session of a login role never
  falls back to JWT claims, which whoever holds a session can set.
- The auth schema is Supabase's when there is one. Ours is made only when there is none, and looks at session_user only.
- Schema dtma holds what nobody reads or calls directly; public holds tables with row-level security and the functions.
*/

do $$
declare
  wanted text;
begin
  foreach wanted in array array['anon', 'authenticated', 'service_role', 'dtma_toolbox'] loop
    if to_regrole(wanted) is null then
      execute format('create role %I nologin', wanted);
    end if;
  end loop;
end
$$;

create schema if not exists dtma;
revoke all on schema dtma from public, anon;
grant usage on schema dtma to authenticated;
grant usage on schema public to anon, authenticated, dtma_toolbox;

create table if not exists dtma.schema_migrations (
  version text primary key,
  name text not null,
  checksum text check (checksum ~ '^[a-f0-9]{64}$'),
  applied_at timestamptz not null default now(),
  applied_by text not null default session_user
);
alter table dtma.schema_migrations enable row level security;

create or replace function dtma.record_migration(p_version text, p_name text, p_checksum text default null) returns void
language sql set search_path = '' as $$
  insert into dtma.schema_migrations as m (version, name, checksum) values (p_version, p_name, p_checksum)
  on conflict (version) do update
    set checksum = coalesce(excluded.checksum, m.checksum),
        applied_at = case when excluded.checksum is distinct from m.checksum then now() else m.applied_at end
$$;

-- One row: what this database is for the control centres that use it.
create table if not exists dtma.workspace (
  singleton boolean primary key default true check (singleton),
  id uuid not null default gen_random_uuid(),
  name text not null default 'Workspace' check (length(btrim(name)) between 1 and 80),
  join_policy text not null default 'approval' check (join_policy in ('approval', 'open')),
  -- Changes when the feed starts anew; every cursor from before is then worthless.
  feed_id uuid not null default gen_random_uuid(),
  report_interval_ms integer not null default 5000 check (report_interval_ms between 1000 and 600000),
  announces_to_realtime boolean not null default false
);
alter table dtma.workspace enable row level security;
insert into dtma.workspace default values on conflict do nothing;

create table if not exists public.people (
  id uuid primary key default gen_random_uuid(),
  name text not null check (length(btrim(name)) between 1 and 80),
  email text check (length(email) <= 320),
  login_role text unique,
  revision bigint not null default 1,
  edits jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
alter table public.people enable row level security;
revoke all on table public.people from public, anon, authenticated;

create table if not exists public.roles (
  id uuid primary key default gen_random_uuid(),
  name text not null unique
);
alter table public.roles enable row level security;
revoke all on table public.roles from public, anon, authenticated;
insert into public.roles (name) values ('admin'), ('user') on conflict (name) do nothing;

create table if not exists public.user_roles (
  user_id uuid not null references public.people (id) on delete cascade,
  role_id uuid not null references public.roles (id) on delete cascade,
  granted_at timestamptz not null default now(),
  primary key (user_id, role_id)
);
alter table public.user_roles enable row level security;
revoke all on table public.user_roles from public, anon, authenticated;

do $$
begin
  if to_regnamespace('auth') is null then
    create schema auth;
    comment on schema auth is 'Made by the DTMA Control Centre: people are login roles.';
  end if;
  if obj_description(to_regnamespace('auth'), 'pg_namespace') = 'Made by the DTMA Control Centre: people are login roles.' then
    grant usage on schema auth to anon, authenticated, service_role;
    create or replace function auth.uid() returns uuid
    language sql stable security definer set search_path = '' as $f$
      select p.id from public.people p where p.login_role = session_user::text
    $f$;
    revoke execute on function auth.uid() from public;
    grant execute on function auth.uid() to anon, authenticated, service_role;
  end if;
end
$$;

-- Whether people are login roles here, and not accounts of Supabase.
create or replace function dtma.people_are_login_roles() returns boolean
language sql stable set search_path = '' as $$
  select coalesce(pg_catalog.obj_description(pg_catalog.to_regnamespace('auth'), 'pg_namespace')
    = 'Made by the DTMA Control Centre: people are login roles.', false)
$$;

-- The small functions that run for every row are PL/pgSQL because it keeps their plans.
create or replace function dtma.person_id() returns uuid
language plpgsql stable security definer set search_path = '' as $$
begin
  return coalesce((select p.id from public.people p where p.login_role = session_user::text), auth.uid());
end
$$;

create or replace function dtma.has_role(p_person uuid, p_role text) returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  return exists (
    select from public.user_roles ur join public.roles r on r.id = ur.role_id
    where ur.user_id = p_person and r.name = p_role);
end
$$;

create or replace function dtma.is_admin() returns boolean
language sql stable security definer set search_path = '' as $$
  select dtma.has_role(dtma.person_id(), 'admin')
$$;

create or replace function dtma.is_member() returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (select from public.user_roles ur where ur.user_id = dtma.person_id())
$$;

-- Raises `CODE: sentence`; the code reaches the caller on every transport.
create or replace function dtma.refuse(p_code text, p_sentence text) returns void
language plpgsql set search_path = '' as $$
begin
  raise exception '%: %', p_code, p_sentence using errcode = case p_code
    when 'NOT_SIGNED_IN' then '28000'
    when 'REPORT_REFUSED' then '28000'
    when 'NOT_A_MEMBER' then '42501'
    when 'FORBIDDEN' then '42501'
    when 'NOT_FOUND' then 'P0002'
    when 'INVALID_INPUT' then '22023'
    else 'P0001' end;
end
$$;

-- A JSON argument. Some servers hand it over as a string that holds it (@supabase/lite does); none of ours is a string.
create or replace function dtma.argument(p jsonb) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return case jsonb_typeof(p) when 'string' then (p #>> '{}')::jsonb when 'null' then null else p end;
exception when invalid_text_representation then
  return p;
end
$$;

-- The person who calls. Refuses who is not signed in, and who has no role.
create or replace function dtma.must_be_member() returns uuid
language plpgsql stable set search_path = '' as $$
declare
  person uuid := dtma.person_id();
begin
  if person is null then
    perform dtma.refuse('NOT_SIGNED_IN', 'Nobody is signed in with this session.');
  end if;
  if not exists (select from public.user_roles ur where ur.user_id = person) then
    perform dtma.refuse('NOT_A_MEMBER', 'No admin of this workspace has let this person in yet.');
  end if;
  return person;
end
$$;

create or replace function dtma.must_be_admin() returns uuid
language plpgsql stable set search_path = '' as $$
declare
  person uuid := dtma.must_be_member();
begin
  if not dtma.has_role(person, 'admin') then
    perform dtma.refuse('FORBIDDEN', 'Only an admin can do this.');
  end if;
  return person;
end
$$;

-- Answers about oneself; admins may ask about everybody.
create or replace function public.user_has_role(user_id uuid, name text) returns boolean
language sql stable security definer set search_path = '' as $$
  select dtma.has_role($1, $2) and ($1 = dtma.person_id() or dtma.is_admin())
$$;
revoke execute on function public.user_has_role(uuid, text) from public, anon;
grant execute on function public.user_has_role(uuid, text) to authenticated;

revoke execute on all functions in schema dtma from public, anon, authenticated;
grant execute on function dtma.person_id(), dtma.is_admin(), dtma.is_member() to authenticated;

grant select on public.people, public.roles, public.user_roles to authenticated;

drop policy if exists "oneself, and admins everybody" on public.people;
create policy "oneself, and admins everybody" on public.people for select to authenticated
  using (id = (select dtma.person_id()) or (select dtma.is_admin()));

drop policy if exists "members" on public.roles;
create policy "members" on public.roles for select to authenticated using ((select dtma.is_member()));

drop policy if exists "oneself, and admins everybody" on public.user_roles;
create policy "oneself, and admins everybody" on public.user_roles for select to authenticated
  using (user_id = (select dtma.person_id()) or (select dtma.is_admin()));

select dtma.record_migration('20261123000100', 'people');
