import type { LucideIcon } from "lucide-react";
import type { ReactNode } from "react";

type EmptyStateProps = {
  icon?: LucideIcon;
  title: string;
  /** Why it is empty and what the next step does. */
  children?: ReactNode;
  /** The next step. */
  action?: ReactNode;
  headingLevel?: 1 | 2 | 3;
};

/** Nothing is here yet: says so and offers the next step. */
export function EmptyState({ icon: Icon, title, children, action, headingLevel = 2 }: EmptyStateProps) {
  const Heading = `h${headingLevel}` as const;
  return (
    <div className="flex flex-col items-center justify-center gap-1 px-6 py-14 text-center">
      {Icon !== undefined && (
        <span className="mb-3 grid size-11 place-items-center rounded-xl border border-line bg-sunken text-faint">
          <Icon size={20} strokeWidth={1.6} aria-hidden />
        </span>
      )}
      <Heading className="font-semibold text-base">{title}</Heading>
      {children !== undefined && <div className="max-w-md text-balance text-muted text-sm">{children}</div>}
      {action !== undefined && <div className="mt-4 flex flex-wrap justify-center gap-2">{action}</div>}
    </div>
  );
}
