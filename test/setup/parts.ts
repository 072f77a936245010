/*
What of the machine a test may use. `test/run.ts` finds out, starts what it can and says so in the environment; without
it (vitest called by hand) nothing counts as there, and these suites are skipped.

  describe.skipIf(!parts.docker)("…", …)
*/

export const partVariables = {
  /** A Docker engine answers at DOCKER_HOST or the platform's usual socket. */
  docker: "TEST_HAS_DOCKER",
  /** The OS keychain can be written; on Linux a private one that is thrown away. */
  keychain: "TEST_HAS_KEYCHAIN",
  /** Path of a Chromium that playwright-core can drive. */
  chromium: "TEST_CHROMIUM",
  /** Path of the `docker-registry` program. */
  dockerRegistry: "TEST_DOCKER_REGISTRY",
  /** Folder of the programs of PostgreSQL 15 or newer (`initdb`, `postgres`). */
  postgres: "TEST_POSTGRES_PROGRAMS",
  /** A Debian system can be made (mmdebstrap, as root). */
  debian: "TEST_CAN_MAKE_DEBIAN",
  /** Path of `shellcheck`. */
  shellcheck: "TEST_SHELLCHECK",
  /** `key=value`: every container a test makes carries it, and none may be left at the end. */
  containerLabel: "TEST_CONTAINER_LABEL",
} as const;

export const parts = {
  docker: process.env[partVariables.docker] === "1",
  keychain: process.env[partVariables.keychain] === "1",
  chromium: process.env[partVariables.chromium],
  dockerRegistry: process.env[partVariables.dockerRegistry],
  postgres: process.env[partVariables.postgres],
  debian: process.env[partVariables.debian] === "1",
  shellcheck: process.env[partVariables.shellcheck],
  containerLabel: process.env[partVariables.containerLabel] ?? "dtma-test=by-hand",
} as const;
