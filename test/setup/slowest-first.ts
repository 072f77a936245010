import { basename } from "node:path";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** What takes longest, longest first: begun last, one of them would keep a single core busy while the others have ended. */
export const slowest = [
  "toolbox-install.test.ts",
  "whole-way.test.ts",
  "two-people.test.ts",
  "dtma-kill.test.ts",
  "mcp-client-conformance.test.ts",
  "dtma-report.test.ts",
  "sync-kill.test.ts",
  "dtma-access-itself.test.ts",
  "control-centre.test.ts",
  "legacy-tools.test.ts",
  "dtma-hardening.test.ts",
];

/** The order of files without what an earlier run has left on this machine, so that every run has the same. */
export class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const index = slowest.indexOf(basename(moduleId));
      return index === -1 ? slowest.length : index;
    };
    const group = ({ project }: TestSpecification) => project.config.sequence.groupOrder;
    const sorted = files.toSorted((one, other) => one.moduleId.localeCompare(other.moduleId));
    return sorted.sort((one, other) => group(one) - group(other) || place(one) - place(other));
  }
}
