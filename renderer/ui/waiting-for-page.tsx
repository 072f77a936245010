import { ExternalLink } from "lucide-react";
import type { ReactNode } from "react";
import { Button } from "./button.tsx";
import { Spinner } from "./spinner.tsx";

type WaitingForPageProps = {
  words: { title: string; body: string; open: string; cancel: string };
  /** The page that was opened in the system's browser. */
  url: string;
  onCancel(): void;
  /** Buttons: other ways on. */
  children?: ReactNode;
};

export function openOutside(url: string): void {
  window.open(url, "_blank", "noopener");
}

/** Says that a person is to go on in the browser, while what they began here waits for them. */
export function WaitingForPage({ words, url, onCancel, children }: WaitingForPageProps) {
  return (
    <div role="status" className="flex items-start gap-3 rounded-lg border border-line bg-sunken px-4 py-3.5">
      <Spinner size={18} className="mt-0.5 text-info" />
      <div className="flex min-w-0 flex-1 flex-col gap-2">
        <div>
          <p className="font-medium text-sm">{words.title}</p>
          <p className="text-muted text-sm">{words.body}</p>
        </div>
        <div className="flex flex-wrap gap-2">
          <Button size="sm" icon={ExternalLink} onClick={() => openOutside(url)}>
            {words.open}
          </Button>
          {children}
          <Button size="sm" variant="ghost" onClick={onCancel}>
            {words.cancel}
          </Button>
        </div>
      </div>
    </div>
  );
}
