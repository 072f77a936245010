import { useState } from "react";
import { useRows } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Dialog } from "../../ui/dialog.tsx";
import { RadioGroup } from "../../ui/form.tsx";
import { Segments } from "../../ui/segments.tsx";
import { AddHost } from "./add-host.tsx";
import { EnrolHost, type Prepared } from "./enrol-host.tsx";
import { ThisComputer } from "./this-computer.tsx";

type AddToolboxProps = { isOpen: boolean; onClose(): void; firstKind?: "this-computer" | "host" };

/** Adds this computer, or a host after its fingerprint has been compared: a new one by one command, or one that runs. */
export function AddToolbox({ isOpen, onClose, firstKind = "this-computer" }: AddToolboxProps) {
  const [chosen, setKind] = useState<"this-computer" | "host" | null>(null);
  const [prepared, setPrepared] = useState<Prepared | null>(null);
  const [way, setWay] = useState<"command" | "token">("command");
  const hasThisComputer = useRows("toolboxes").some((toolbox) => toolbox.kind === "this-computer");
  const kind = chosen ?? (hasThisComputer ? "host" : firstKind);
  const close = () => {
    setKind(null);
    setPrepared(null);
    onClose();
  };
  return (
    <Dialog isOpen={isOpen} onClose={close} title={text.addToolbox.title} closeLabel={text.app.close}>
      <div className="flex flex-col gap-4 pb-4">
        {/* With a command under way there is nothing to choose: only what comes next. */}
        {prepared === null && (
          <Segments
            label={text.addToolbox.kind}
            value={kind}
            onChange={(next) => setKind(next)}
            segments={[
              { value: "this-computer", label: text.addToolbox.thisComputer },
              { value: "host", label: text.addToolbox.host },
            ]}
          />
        )}
        {kind === "this-computer" && <ThisComputer onAdded={close} />}
        {kind === "host" && (
          <>
            {prepared === null && (
              <RadioGroup
                label={text.enrol.way}
                value={way}
                onChange={(next) => setWay(next)}
                choices={(["command", "token"] as const).map((value) => ({
                  value,
                  label: text.enrol.ways[value],
                  detail: text.enrol.wayDetails[value],
                }))}
              />
            )}
            {way === "command" ? (
              <EnrolHost prepared={prepared} onPrepared={setPrepared} onDone={close} />
            ) : (
              <AddHost onDone={close} />
            )}
          </>
        )}
      </div>
    </Dialog>
  );
}
