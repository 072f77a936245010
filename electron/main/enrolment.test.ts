import { createHash } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import { installSource } from "../../shared/contract/toolboxes.ts";
import { AppError } from "../../shared/errors.ts";
import type { ToolboxId } from "../../shared/model/ids.ts";
import { commandsFor, createEnrolments, type Enrolments } from "./enrolment.ts";

const source = { archiveUrl: "https://files.example:8443/dtma/0.1.0/dtma-0.1.0.tar.gz", sha256: "ab".repeat(32) };
const host = { name: "far", url: "https://203.0.113.7:30000", fingerprint: null };
const halfAnHourMs = 30 * 60_000;

let remembered: string | undefined;
let now: number;
let proved: string[];
let added: { token: string }[];
/** What goes wrong next, where something does. */
let fails: { assertNew?: AppError; prove?: AppError; add?: AppError };
let enrolments: Enrolments;

function failing(what: keyof typeof fails): void {
  const error = fails[what];
  if (error !== undefined) throw error;
}

beforeEach(() => {
  remembered = undefined;
  now = 1_000_000;
  proved = [];
  added = [];
  fails = {};
  enrolments = createEnrolments({
    store: {
      remembered: () => remembered,
      remember(_, value) {
        remembered = value;
      },
    },
    toolboxes: {
      assertNew: () => failing("assertNew"),
      async add(input) {
        failing("add");
        added.push(input);
        return "added" as ToolboxId;
      },
    },
    async prove({ key }) {
      failing("prove");
      proved.push(key);
      return `token-${proved.length}`;
    },
    now: () => now,
  });
});

describe("the command for a new host", () => {
  it("holds the hash of the key that is proved later, and its end in seconds", async () => {
    const { id, commands, expiresAt } = enrolments.prepare(null);
    expect(expiresAt).toBe(now + halfAnHourMs);
    expect(commands.download).toBeNull();
    await enrolments.enrol({ id, ...host });
    const hash = createHash("sha256")
      .update(proved[0] ?? "")
      .digest("hex");
    expect(commands.copied).toBe(`sudo ./install.sh --enrol ${hash}:${Math.floor(expiresAt / 1000)}`);
    expect(commands.copied).not.toContain(proved[0]);
  });

  it("fetches the script from beside the archive, whose checksum it carries", () => {
    expect(commandsFor(source, "4f".repeat(32), 1_800_000_000_999).download).toBe(
      `curl -fsSL https://files.example:8443/dtma/0.1.0/install.sh | sudo sh -s -- --from ${source.archiveUrl} --sha256 ${source.sha256} --enrol ${"4f".repeat(32)}:1800000000`,
    );
  });

  it("remembers where the release is", () => {
    expect(enrolments.source()).toBeNull();
    enrolments.prepare(source);
    enrolments.prepare(null);
    expect(enrolments.source()).toEqual(source);
  });

  it.each([
    "http://files.example/dtma.tar.gz",
    "https://files.example",
    "https://files.example/a b.tar.gz",
    "https://files.example/$(id).tar.gz",
    "https://files.example/a.tar.gz;id",
    "https://files.example/'a'.tar.gz",
    "https://user:password@files.example/a.tar.gz",
    "https://files.example/a.tar.gz\nid",
  ])("is never made with an address that a shell could take for something else: %s", (archiveUrl) => {
    expect(installSource.safeParse({ ...source, archiveUrl }).success).toBe(false);
  });
});

describe("an enrolment", () => {
  it("is refused once the key has expired, and when it was used", async () => {
    const late = enrolments.prepare(null);
    now += halfAnHourMs;
    await expect(enrolments.enrol({ id: late.id, ...host })).rejects.toMatchObject({ code: "TOOLBOX_REFUSED" });
    const { id } = enrolments.prepare(null);
    await enrolments.enrol({ id, ...host });
    await expect(enrolments.enrol({ id, ...host })).rejects.toMatchObject({ code: "TOOLBOX_REFUSED" });
    expect(added).toHaveLength(1);
  });

  it("proves the key only after everything that can be refused here was looked at", async () => {
    const { id } = enrolments.prepare(null);
    fails = { assertNew: new AppError("ALREADY_EXISTS", { field: "name" }) };
    await expect(enrolments.enrol({ id, ...host })).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
    expect(proved).toEqual([]);
    fails = {};
    await enrolments.enrol({ id, ...host });
    expect(added).toEqual([expect.objectContaining({ token: "token-1" })]);
  });

  it("keeps the token it got when the toolbox cannot be added at once, also past the key's end", async () => {
    const { id } = enrolments.prepare(null);
    fails = { add: new AppError("TOOLBOX_UNREACHABLE") };
    await expect(enrolments.enrol({ id, ...host })).rejects.toMatchObject({ code: "TOOLBOX_UNREACHABLE" });
    fails = {};
    now += halfAnHourMs;
    await enrolments.enrol({ id, ...host });
    expect(proved).toHaveLength(1);
    expect(added).toEqual([expect.objectContaining({ token: "token-1" })]);
  });

  it("can be tried again after the machine did not answer", async () => {
    const { id } = enrolments.prepare(null);
    fails = { prove: new AppError("TOOLBOX_UNREACHABLE") };
    await expect(enrolments.enrol({ id, ...host })).rejects.toMatchObject({ code: "TOOLBOX_UNREACHABLE" });
    fails = {};
    await enrolments.enrol({ id, ...host });
    expect(added).toHaveLength(1);
  });
});
