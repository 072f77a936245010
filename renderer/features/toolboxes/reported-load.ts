import { useEffect, useState } from "react";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { api, call } from "../../api.ts";

/**
 * The load a toolbox last reported; null while none is known. Asked for when the screen opens and with each new report:
 * loads are not rows. A failure leaves what was known, whose age is shown.
 */
export function useReportedLoad({ id, shared }: Toolbox): Toolbox["load"] {
  const [load, setLoad] = useState<Toolbox["load"]>(null);
  const reportedAt = shared?.reportedAt ?? null;
  useEffect(() => {
    if (reportedAt === null) return;
    let isLeft = false;
    call(api.workspace.loads({ toolboxId: id })).then(
      ({ host }) => {
        // The database's clock is not this computer's; the time of the report is known in ours.
        if (!isLeft && host !== null) setLoad({ ...host, at: reportedAt });
      },
      () => undefined,
    );
    return () => {
      isLeft = true;
    };
  }, [id, reportedAt]);
  return load;
}
