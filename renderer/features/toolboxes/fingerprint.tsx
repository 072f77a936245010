import type { ReactNode } from "react";
import { text } from "../../text.ts";
import { Checkbox } from "../../ui/form.tsx";

type CompareProps = {
  /** null for plain HTTP. */
  shown: string | null;
  /** Where the other one is found. */
  body: string;
  isSame: boolean;
  onChange(isSame: boolean): void;
  children?: ReactNode;
};

/** The certificate a DTMA shows, to be compared with the one on its machine before it is pinned. */
export function CompareFingerprint({ shown, body, isSame, onChange, children }: CompareProps) {
  const isPlain = shown === null;
  return (
    <div className="flex flex-col gap-4">
      <div>
        <h3 className="font-semibold text-sm">{isPlain ? text.addToolbox.plainTitle : text.addToolbox.compareTitle}</h3>
        <p className="text-muted text-sm">{isPlain ? text.addToolbox.plainBody : body}</p>
      </div>
      {!isPlain && <Fingerprint value={shown} />}
      <Checkbox isChecked={isSame} onChange={onChange} label={isPlain ? text.addToolbox.plainAccept : text.addToolbox.same} />
      {children}
    </div>
  );
}

/** A fingerprint in groups that can be compared by eye. */
function Fingerprint({ value }: { value: string }) {
  const pairs = value.split(":");
  const groups = Array.from({ length: Math.ceil(pairs.length / 4) }, (_, index) => pairs.slice(index * 4, index * 4 + 4));
  return (
    <code
      data-selectable
      className="grid w-fit grid-cols-4 gap-x-5 gap-y-1 rounded-lg border border-line bg-sunken px-4 py-3 font-mono text-xs"
    >
      {groups.map((group, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: groups of a fingerprint can be equal; their place is their identity
        <span key={index}>{group.join(":")}</span>
      ))}
    </code>
  );
}

/** An address is often copied without its scheme; a DTMA speaks HTTPS unless it was told otherwise. */
export function withScheme(address: string): string {
  const trimmed = address.trim();
  return trimmed.includes("://") ? trimmed : `https://${trimmed}`;
}
