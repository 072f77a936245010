import type { EngineInfo } from "../docker/docker.ts";

/** What of the hardening this Engine does not give, as sentences. */
export function engineGaps({ hasSeccomp }: Pick<EngineInfo, "hasSeccomp">): string[] {
  return hasSeccomp ? [] : ["Containers may make any system call: Docker runs them here without a seccomp profile."];
}
