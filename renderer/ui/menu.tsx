import { Menu as BaseMenu } from "@base-ui/react/menu";
import type { LucideIcon } from "lucide-react";
import type { ReactElement } from "react";
import { join } from "./join.ts";

export type MenuEntry =
  | {
      label: string;
      icon?: LucideIcon;
      /** Why it cannot be chosen, or what it does; a second, quieter line. */
      detail?: string | undefined;
      isDanger?: boolean;
      isDisabled?: boolean;
      onSelect(): void;
    }
  | "separator";

type MenuProps = { trigger: ReactElement; entries: readonly MenuEntry[]; align?: "start" | "end" };

/** A button that opens a list of actions. */
export function Menu({ trigger, entries, align = "end" }: MenuProps) {
  return (
    <BaseMenu.Root modal={false}>
      <BaseMenu.Trigger render={trigger} />
      <BaseMenu.Portal>
        <BaseMenu.Positioner sideOffset={4} align={align} className="z-50 outline-none">
          <BaseMenu.Popup className="popup min-w-44 max-w-80 p-1">
            {entries.map((entry, index) =>
              entry === "separator" ? (
                // biome-ignore lint/suspicious/noArrayIndexKey: a separator has nothing but its place
                <BaseMenu.Separator key={`separator-${index}`} className="mx-1 my-1 h-px bg-line" />
              ) : (
                <BaseMenu.Item
                  key={entry.label}
                  disabled={entry.isDisabled ?? false}
                  onClick={entry.onSelect}
                  className={join("popup-item", entry.isDanger === true && entry.isDisabled !== true && "text-danger")}
                >
                  {entry.icon !== undefined && <entry.icon size={15} aria-hidden className="shrink-0" />}
                  <span className="min-w-0 py-1">
                    {entry.label}
                    {entry.detail !== undefined && <span className="block text-faint text-xs">{entry.detail}</span>}
                  </span>
                </BaseMenu.Item>
              ),
            )}
          </BaseMenu.Popup>
        </BaseMenu.Positioner>
      </BaseMenu.Portal>
    </BaseMenu.Root>
  );
}
