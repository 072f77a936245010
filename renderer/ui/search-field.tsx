import { Search } from "lucide-react";
import { useEffect, useRef } from "react";
import { join } from "./join.ts";
import { Kbd } from "./kbd.tsx";

type SearchFieldProps = { label: string; value: string; onChange(value: string): void; className?: string };

/** Narrows the list below it. `/` puts the focus here, Escape empties it. */
export function SearchField({ label, value, onChange, className }: SearchFieldProps) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const focus = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement | null;
      const isTyping = target?.closest("input, textarea, select, [contenteditable], [role=dialog]") != null;
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || isTyping) return;
      event.preventDefault();
      input.current?.focus();
    };
    window.addEventListener("keydown", focus);
    return () => window.removeEventListener("keydown", focus);
  }, []);
  return (
    <div className={join("relative min-w-0", className ?? "w-64")}>
      <Search size={14} aria-hidden className="pointer-events-none absolute top-1/2 left-2.5 -translate-y-1/2 text-faint" />
      <input
        ref={input}
        type="search"
        aria-label={label}
        placeholder={label}
        value={value}
        autoComplete="off"
        spellCheck={false}
        onChange={(event) => onChange(event.target.value)}
        onKeyDown={(event) => {
          if (event.key !== "Escape" || value === "") return;
          event.stopPropagation();
          onChange("");
        }}
        className="peer h-8 w-full appearance-none rounded-md border border-control bg-field pr-7 pl-8 text-sm shadow-xs hover:border-control-hover focus-visible:border-accent focus-visible:outline-2 focus-visible:outline-focus focus-visible:-outline-offset-1 [&::-webkit-search-cancel-button]:hidden"
      />
      {value === "" && (
        <span aria-hidden="true" className="pointer-events-none absolute top-1/2 right-1.5 -translate-y-1/2 peer-focus:hidden">
          <Kbd>/</Kbd>
        </span>
      )}
    </div>
  );
}
