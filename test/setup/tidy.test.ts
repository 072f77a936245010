import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { mountsBelow, removeWithMounts } from "./tidy.ts";

describe("the mounts below a folder", () => {
  const line = (point: string) => `36 35 98:0 /source ${point} rw,noatime master:1 - ext4 /dev/root rw,errors=continue`;

  it("come deepest first, and what lies on top before what it covers", () => {
    const mountinfo = ["/", "/run/x", "/run/x/a", "/run/x/a/b", "/run/x/c", "/run/xy", "/run/x/a"].map(line).join("\n");
    expect(mountsBelow(mountinfo, "/run/x")).toEqual(["/run/x/a/b", "/run/x/a", "/run/x/c", "/run/x/a", "/run/x"]);
  });

  it("are read with their spaces", () => {
    expect(mountsBelow(line("/run/x/a\\040b\\134c"), "/run/x")).toEqual(["/run/x/a b\\c"]);
  });
});

describe.skipIf(process.platform !== "linux" || process.getuid?.() !== 0)("removing the folder of a run", () => {
  let outside: string;
  let folder: string;
  beforeEach(() => {
    outside = realpathSync(mkdtempSync(join(tmpdir(), "dtma-tidy-outside-")));
    folder = realpathSync(mkdtempSync(join(tmpdir(), "dtma-tidy-")));
    writeFileSync(join(outside, "kept"), "");
  });
  afterEach(() => rmSync(outside, { recursive: true }));

  const mount = (...args: string[]) => void execFileSync("mount", args);
  /** Runs a script and stays; `argument` is in its command line. */
  const idle = (argument: string, script = "") =>
    spawn(process.execPath, ["-e", `${script} setInterval(() => {}, 1000); console.log()`, argument], {
      stdio: ["ignore", "pipe", "ignore"],
    });

  it("takes mounts away, also one in use, a namespace and one on another, and deletes nothing through them", async () => {
    const [a, file] = [join(folder, "a b"), join(folder, "default")];
    mkdirSync(a);
    mount("-t", "tmpfs", "tmpfs", a);
    mkdirSync(join(a, "deep"));
    mount("--bind", outside, join(a, "deep"));
    mount("-t", "tmpfs", "tmpfs", join(a, "deep"));
    writeFileSync(file, "");
    mount("--bind", "/proc/self/ns/net", file);
    const user = spawn("sleep", ["1000"], { cwd: a });
    await once(user, "spawn");
    try {
      await removeWithMounts(folder);
    } finally {
      user.kill("SIGKILL");
    }
    expect(existsSync(folder)).toBe(false);
    expect(existsSync(join(outside, "kept"))).toBe(true);
  });

  it("ends what was started for it, with its children, and nothing else", async () => {
    const start = `require("child_process").spawn("sleep", ["1000"], { detached: true, stdio: "ignore" }).unref();`;
    const [own, other] = [idle(join(folder, "data"), start), idle(`${folder}-other`)];
    await Promise.all([own, other].map((child) => once(child.stdout, "data")));
    const child = execFileSync("ps", ["-o", "pid=", "--ppid", String(own.pid)], { encoding: "utf8" }).trim();
    const gone = once(own, "exit");
    await removeWithMounts(folder);
    expect(await gone).toEqual([null, "SIGKILL"]);
    expect(child).toMatch(/^\d+$/);
    expect(existsSync(`/proc/${child}/cwd`)).toBe(false);
    expect(other.exitCode ?? other.signalCode).toBeNull();
    other.kill("SIGKILL");
  });
});
