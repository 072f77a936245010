/**
 * What a template may ask for: Docker's own defaults without those that reach beyond the container's files and
 * processes. Left out of them: NET_RAW (forges packets on the bridge, where the egress rule trusts addresses), MKNOD,
 * AUDIT_WRITE (the host's audit log), SETFCAP and SETPCAP (no use with no-new-privileges but to get around it).
 */
const grantable: ReadonlySet<string> = new Set([
  "CHOWN",
  "DAC_OVERRIDE",
  "FOWNER",
  "FSETID",
  "KILL",
  "NET_BIND_SERVICE",
  "SETGID",
  "SETUID",
  "SYS_CHROOT",
]);

/** Takes Linux's name (`CAP_CHOWN`) and Docker's (`CHOWN`), in any case. */
export function isGrantable(capability: string): boolean {
  return grantable.has(capability.toUpperCase().replace(/^CAP_/, ""));
}

export function capabilityRefusal(capability: string): string {
  return `The capability ${capability} is never given: it would reach beyond the container.`;
}
