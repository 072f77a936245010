import { Toast as BaseToast } from "@base-ui/react/toast";
import { CircleAlert, CircleCheck, X } from "lucide-react";
import type { ReactNode } from "react";

type Announcement = {
  title: string;
  description?: string | undefined;
  tone?: "plain" | "ok" | "danger";
  action?: { label: string; onSelect(): void };
};

const manager = BaseToast.createToastManager<{ tone: "plain" | "ok" | "danger" }>();

/** Says in a corner that something has happened elsewhere. Failures stay longer. */
export function announce({ title, description, tone = "plain", action }: Announcement): void {
  manager.add({
    title,
    ...(description === undefined ? {} : { description }),
    timeout: tone === "danger" ? 9_000 : 4_500,
    priority: tone === "danger" ? "high" : "low",
    data: { tone },
    ...(action === undefined ? {} : { actionProps: { children: action.label, onClick: action.onSelect } }),
  });
}

/** Holds the announcements; once around the app. */
export function ToastProvider({ children, closeLabel }: { children: ReactNode; closeLabel: string }) {
  return (
    <BaseToast.Provider toastManager={manager} limit={4}>
      {children}
      <BaseToast.Portal>
        <BaseToast.Viewport className="fixed right-4 bottom-10 z-70 flex w-88 flex-col-reverse gap-2">
          <Announcements closeLabel={closeLabel} />
        </BaseToast.Viewport>
      </BaseToast.Portal>
    </BaseToast.Provider>
  );
}

function Announcements({ closeLabel }: { closeLabel: string }) {
  const { toasts } = BaseToast.useToastManager<{ tone: "plain" | "ok" | "danger" }>();
  return toasts.map((toast) => (
    <BaseToast.Root
      key={toast.id}
      toast={toast}
      swipeDirection={["right", "down"]}
      className="translate-x-(--toast-swipe-movement-x) rounded-lg bg-raised text-ink shadow-xl transition-[opacity,transform] duration-200 ease-quick data-ending-style:translate-x-4 data-starting-style:translate-y-3 data-ending-style:opacity-0 data-starting-style:opacity-0"
    >
      <BaseToast.Content className="flex items-start gap-2.5 px-3.5 py-3">
        {toast.data?.tone === "ok" && <CircleCheck size={16} aria-hidden className="mt-0.5 shrink-0 text-ok" />}
        {toast.data?.tone === "danger" && <CircleAlert size={16} aria-hidden className="mt-0.5 shrink-0 text-danger" />}
        <div className="min-w-0 flex-1">
          <BaseToast.Title className="break-words font-medium text-sm" />
          <BaseToast.Description className="mt-0.5 break-words text-muted text-xs" />
          <BaseToast.Action className="mt-1.5 font-medium text-accent-text text-sm hover:underline" />
        </div>
        <BaseToast.Close
          aria-label={closeLabel}
          className="-mt-0.5 -mr-1 grid size-6 shrink-0 place-items-center rounded-md text-faint hover:bg-selected hover:text-ink"
        >
          <X size={14} aria-hidden />
        </BaseToast.Close>
      </BaseToast.Content>
    </BaseToast.Root>
  ));
}
