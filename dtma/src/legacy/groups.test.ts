import { setImmediate as turn } from "node:timers/promises";
import { expect, it } from "vitest";
import type { DataFolder } from "../data-folder.ts";
import { createLog } from "../log.ts";
import { openGroups } from "./groups.ts";
import type { Instances } from "./instances.ts";

const server = (name: string) => ({
  accountToolInstanceId: name,
  instanceNameOnToolbox: name,
  dockerImageUrl: "team/tool:1",
});

it("a group is answered only when every one of its deploys has ended, also when one could not be written down", async () => {
  const slow = Promise.withResolvers<void>();
  const ended: string[] = [];
  let writes = 0;
  const data = {
    path: "/data",
    read: async () => undefined,
    async write() {
      writes += 1;
      if (writes === 2) throw new Error("ENOSPC");
    },
  } as unknown as DataFolder;
  const instances = {
    get: () => undefined,
    hindrance: () => undefined,
    async deploy({ name }: { name: string }) {
      if (name === "slow") await slow.promise;
      ended.push(name);
      return { notes: [] };
    },
  } as unknown as Instances;
  const groups = await openGroups({ data, instances, isSure: () => true, log: createLog(() => {}) });
  let isAnswered = false;
  const answer = groups
    .deploy({ groupId: "all", servers: ["quick", "slow"].map(server), options: { maxConcurrentDeployments: 2 } })
    .finally(() => {
      isAnswered = true;
    });
  const failed = expect(answer).rejects.toThrow("ENOSPC");
  for (let round = 0; round < 20; round += 1) await turn();
  expect([ended, writes, isAnswered]).toEqual([["quick"], 2, false]);
  slow.resolve();
  await failed;
  expect(ended).toEqual(["quick", "slow"]);
});
