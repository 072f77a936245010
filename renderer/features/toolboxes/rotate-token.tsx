import { useState } from "react";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { api } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { ConfirmDialog } from "../../ui/confirm-dialog.tsx";
import { Field, Select } from "../../ui/form.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";

const words = text.toolboxAccess;
const overlaps = ["300", "3600", "86400", "604800"] as const;

/** Gives the DTMA of a host a new token, after saying who else is affected and when. */
export function RotateToken({ toolbox, onClose }: { toolbox: Toolbox; onClose(): void }) {
  const [overlap, setOverlap] = useState<(typeof overlaps)[number]>("3600");
  const rotate = useAction(async () => {
    await api.toolboxes.rotateToken({ id: toolbox.id, overlapSeconds: Number(overlap) });
    return true;
  });
  return (
    <ConfirmDialog
      isOpen
      onClose={onClose}
      title={words.rotateTitle(toolbox.name)}
      body={
        <div className="flex flex-col gap-4">
          <p>{words.rotateBody}</p>
          <Field label={words.overlap}>
            <Select
              value={overlap}
              onChange={(next) => setOverlap(next)}
              choices={overlaps.map((value) => ({ value, label: words.overlaps[value] }))}
            />
          </Field>
        </div>
      }
      confirmLabel={words.rotate}
      cancelLabel={text.app.cancel}
      closeLabel={text.app.close}
      isDanger={false}
      isBusy={rotate.isBusy}
      error={rotate.error !== null && <AppErrorNote error={rotate.error} />}
      onConfirm={async () => {
        if ((await rotate.run()) !== true) return;
        announce({ title: words.rotated(toolbox.name), tone: "ok" });
        onClose();
      }}
    />
  );
}
