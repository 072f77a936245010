import { ChevronRight } from "lucide-react";
import type { ReactNode } from "react";
import { Link } from "wouter";
import { join } from "./join.ts";

type PageHeaderProps = {
  title: ReactNode;
  /** The way back, outermost first. */
  trail?: readonly { label: string; href: string }[];
  /** Stands beside the title: a state, a count. */
  aside?: ReactNode;
  /** Buttons on the right, the main one last. */
  actions?: ReactNode;
  /** A second line. */
  children?: ReactNode;
};

/** Name of the screen, way back and its actions. */
export function PageHeader({ title, trail = [], aside, actions, children }: PageHeaderProps) {
  return (
    <header className="flex shrink-0 flex-col gap-1 px-5 pt-3 pb-3">
      <div className="flex min-h-8 items-center gap-3">
        <div className="flex min-w-0 flex-1 items-center gap-1.5">
          {trail.map((place) => (
            <span key={place.href} className="flex shrink-0 items-center gap-1.5">
              <Link href={place.href} className="rounded-sm text-faint text-base hover:text-ink">
                {place.label}
              </Link>
              <ChevronRight size={14} aria-hidden className="text-faint" />
            </span>
          ))}
          <h1 className="truncate font-semibold text-base">{title}</h1>
          {aside !== undefined && <div className="ml-2 flex min-w-0 items-center gap-2">{aside}</div>}
        </div>
        {actions !== undefined && <div className="flex shrink-0 items-center gap-2">{actions}</div>}
      </div>
      {children !== undefined && <div className="max-w-prose text-muted text-sm">{children}</div>}
    </header>
  );
}

type PageBodyProps = {
  children: ReactNode;
  className?: string;
  /** Without room at the end, for a bar that sticks there. */
  isFlush?: boolean;
  /** Names it where nothing inside takes the focus, so that the keyboard can scroll it. */
  label?: string;
};

/** What scrolls below a page header. */
export function PageBody({ children, className, isFlush = false, label }: PageBodyProps) {
  const looks = join("min-h-0 flex-1 overflow-y-auto px-5 outline-offset-[-2px]", !isFlush && "pb-10", className);
  if (label === undefined) return <div className={looks}>{children}</div>;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls and holds nothing to focus has to be reached itself
    <section aria-label={label} tabIndex={0} className={looks}>
      {children}
    </section>
  );
}

type SectionProps = {
  title: string;
  aside?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  className?: string;
};

/** A part of a screen under its own heading. */
export function Section({ title, aside, actions, children, className }: SectionProps) {
  return (
    <section aria-label={title} className={join("flex min-w-0 flex-col gap-2", className)}>
      <div className="flex min-h-7 items-center gap-2">
        <h2 className="font-semibold text-sm">{title}</h2>
        {aside !== undefined && <span className="text-faint text-xs">{aside}</span>}
        {actions !== undefined && <div className="ml-auto flex items-center gap-1.5">{actions}</div>}
      </div>
      {children}
    </section>
  );
}
