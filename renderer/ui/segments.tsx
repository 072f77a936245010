import { Radio } from "@base-ui/react/radio";
import { RadioGroup } from "@base-ui/react/radio-group";
import type { LucideIcon } from "lucide-react";

export type Segment<Value extends string = string> = {
  value: Value;
  label: string;
  icon?: LucideIcon;
  count?: number | undefined;
};

const number = new Intl.NumberFormat("en");

type SegmentsProps<Value extends string> = {
  label: string;
  segments: readonly Segment<Value>[];
  value: Value;
  onChange(value: Value): void;
};

/** One of a few views or filters, all visible, in one line. */
export function Segments<Value extends string>({ label, segments, value, onChange }: SegmentsProps<Value>) {
  return (
    <RadioGroup
      aria-label={label}
      value={value}
      onValueChange={(next) => onChange(next as Value)}
      className="inline-flex h-8 w-fit shrink-0 items-center gap-0.5 rounded-md bg-idle-soft p-0.5"
    >
      {segments.map((segment) => (
        <Radio.Root
          key={segment.value}
          value={segment.value}
          aria-label={segment.count === undefined ? segment.label : `${segment.label}, ${segment.count}`}
          className="flex h-7 items-center gap-1.5 rounded-[5px] px-2.5 text-muted text-xs outline-offset-0 hover:text-ink data-checked:bg-thumb data-checked:font-medium data-checked:text-ink data-checked:shadow-sm"
        >
          {segment.icon !== undefined && <segment.icon size={14} aria-hidden />}
          {segment.label}
          {segment.count !== undefined && <span className="tnum text-faint">{number.format(segment.count)}</span>}
        </Radio.Root>
      ))}
    </RadioGroup>
  );
}
