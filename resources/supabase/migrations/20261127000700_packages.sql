/*
Servers from packages of any kind say their version.
*/

-- A package has a version whichever registry it is from; an image has its reference.
create or replace function dtma.version_of(p_spec jsonb) returns text
language sql immutable
return left(coalesce(p_spec #>> '{source,version}', p_spec #>> '{source,image}'), 512);

select dtma.record_migration('20261127000700', 'packages');
