import { useState } from "react";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { api } from "../../api.ts";
import { text } from "../../text.ts";
import { Field, Select } from "../../ui/form.tsx";
import { announce } from "../../ui/toast.tsx";
import { ConfirmAction } from "../confirm/index.tsx";

const words = text.toolboxAccess;
const overlaps = ["300", "3600", "86400", "604800"] as const;

/** Gives the DTMA of a host a new token, after saying who else is affected and when. */
export function RotateToken({ toolbox, onClose }: { toolbox: Toolbox; onClose(): void }) {
  const [overlap, setOverlap] = useState<(typeof overlaps)[number]>("3600");
  return (
    <ConfirmAction
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
      isDanger={false}
      perform={() => api.toolboxes.rotateToken({ id: toolbox.id, overlapSeconds: Number(overlap) })}
      onDone={() => {
        announce({ title: words.rotated(toolbox.name), tone: "ok" });
        onClose();
      }}
    />
  );
}
