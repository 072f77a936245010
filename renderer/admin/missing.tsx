import { Link } from "wouter";
import { places } from "../places.ts";
import { text } from "../text.ts";
import { buttonClass } from "../ui/button.tsx";
import { EmptyState } from "../ui/empty-state.tsx";

/** The address leads to something that is not there. */
export function Missing() {
  return (
    <div className="grid h-full place-items-center">
      <EmptyState
        headingLevel={1}
        title={text.app.notFound.title}
        action={
          <Link href={places.overview} className={buttonClass()}>
            {text.app.notFound.action}
          </Link>
        }
      >
        {text.app.notFound.body}
      </EmptyState>
    </div>
  );
}
