import { describe, expect, it } from "vitest";
import { readDisks } from "./host-load.ts";
import { createSmallFiles, numberAfter } from "./small-file.ts";

describe("files of the kernel", () => {
  it("have numbers at the start of a line only", () => {
    const text = "inactive_file 1\ntotal_inactive_file 22\nfile 333\n";
    expect(numberAfter(text, "inactive_file")).toBe(1);
    expect(numberAfter(text, "total_inactive_file")).toBe(22);
    expect(numberAfter(text, "file")).toBe(333);
    expect(numberAfter(text, "nothing")).toBe(0);
    expect(numberAfter("MemAvailable:    7 kB\n", "MemAvailable:")).toBe(7);
  });

  it("count whole disks and nothing twice", () => {
    const line = (name: string, read: number, written: number) => `   8  0 ${name} 1 0 ${read} 0 1 0 ${written} 0 0 0 0\n`;
    const text = ["sda", "sda1", "nvme0n1", "nvme0n1p1", "dm-0", "loop0"].map((name) => line(name, 2, 3)).join("");
    expect(readDisks(text)).toEqual({ blockReadBytes: 2 * 2 * 512, blockWriteBytes: 2 * 3 * 512 });
  });

  it.runIf(process.platform === "linux")("are read whole, also those that come in pieces", () => {
    const file = createSmallFiles()("/proc/self/maps");
    const text = file.read();
    expect(text.length).toBeGreaterThan(4_096);
    expect(text.endsWith("\n")).toBe(true);
    expect(
      text
        .split("\n")
        .slice(0, -1)
        .filter((line) => !/^[0-9a-f]+-[0-9a-f]+ /.test(line)),
    ).toEqual([]);
    file.close();
    expect(() => file.read()).toThrow("EBADF");
  });
});
