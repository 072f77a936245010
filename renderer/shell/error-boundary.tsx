import { Component, type ReactNode } from "react";
import { text } from "../text.ts";
import { Button } from "../ui/button.tsx";
import { EmptyState } from "../ui/empty-state.tsx";

type Props = { children: ReactNode /** Another key tries again. */; resetKey: string };
type State = { error: unknown; failedKey: string | null };

/** Keeps a screen that broke from taking the window with it. */
export class ErrorBoundary extends Component<Props, State> {
  override state: State = { error: null, failedKey: null };

  static getDerivedStateFromError(error: unknown): Partial<State> {
    return { error };
  }

  static getDerivedStateFromProps(props: Props, state: State): Partial<State> | null {
    if (state.error === null) return { failedKey: props.resetKey };
    return state.failedKey === props.resetKey ? null : { error: null, failedKey: props.resetKey };
  }

  override render(): ReactNode {
    if (this.state.error === null) return this.props.children;
    return (
      <div role="alert" className="grid h-full place-items-center">
        <EmptyState
          title={text.app.crash.title}
          action={
            <Button variant="primary" onClick={() => window.location.reload()}>
              {text.app.crash.action}
            </Button>
          }
        >
          {text.app.crash.body}
        </EmptyState>
      </div>
    );
  }
}
