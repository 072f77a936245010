import { describe, expect, it } from "vitest";
import type { Server } from "../../shared/model/server.ts";
import { toolsOf } from "./server-tools.ts";

const seen = [{ name: "seen", inputSchema: {} }];
const reported = [{ name: "reported", inputSchema: {} }];
const lists = new Map([["h", { id: "h", items: reported }]]);

function server(seenAt: number | null, reportedAt: number | null): Pick<Server, "tools" | "shared"> {
  return {
    tools: seenAt === null ? null : { at: seenAt, items: seen },
    ...(reportedAt === null
      ? {}
      : {
          shared: {
            toolboxName: "box",
            templateTitle: null,
            description: "",
            status: "running",
            reported: { state: "never" },
            tools: { hash: "h", count: 1, at: reportedAt },
            isSpecKnown: false,
          },
        }),
  };
}

describe("the tools of a server", () => {
  it("are those of whoever looked last", () => {
    expect(toolsOf(server(2, 1), lists)?.items).toBe(seen);
    expect(toolsOf(server(1, 2), lists)).toEqual({ at: 2, items: reported });
  });

  it("come from the report where this computer never looked", () => {
    expect(toolsOf(server(null, 5), lists)?.items).toBe(reported);
  });

  it("are unknown while the reported list is not here", () => {
    expect(toolsOf(server(null, 5), new Map())).toBeNull();
    expect(toolsOf(server(1, 5), new Map())?.items).toBe(seen);
    expect(toolsOf(server(null, null), lists)).toBeNull();
  });
});
