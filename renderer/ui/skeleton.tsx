import { join } from "./join.ts";

/** Stands where text will be, at its size. */
export function Skeleton({ className }: { className?: string }) {
  return <span aria-hidden="true" className={join("block h-3.5 animate-breathe rounded-sm bg-selected", className)} />;
}

/** A list on its way. `label` is read out, once. */
export function SkeletonRows({ label, count = 6 }: { label: string; count?: number }) {
  return (
    <div role="status" aria-label={label} className="flex flex-col">
      {Array.from({ length: count }, (_, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: placeholders are nothing but their place
        <div key={index} className="flex h-10 items-center gap-6 border-line border-b px-5">
          <Skeleton className={index % 3 === 0 ? "w-48" : index % 3 === 1 ? "w-36" : "w-56"} />
          <Skeleton className="w-24" />
          <Skeleton className="ml-auto w-16" />
        </div>
      ))}
    </div>
  );
}
