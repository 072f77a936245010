import { CSPProvider } from "@base-ui/react/csp-provider";
import { type ReactNode, useEffect, useRef } from "react";
import { Redirect, Route, Router, Switch, useLocation } from "wouter";
import { Activity } from "./admin/activity.tsx";
import { Catalogue, DeployScreen, EditTemplateScreen, NewTemplateScreen, TemplateScreen } from "./admin/catalogue.tsx";
import { Missing } from "./admin/missing.tsx";
import { Overview } from "./admin/overview.tsx";
import { People, PersonScreen } from "./admin/people.tsx";
import { ServerScreen, Servers } from "./admin/servers.tsx";
import { Settings, ShareWorkspace } from "./admin/settings.tsx";
import { Toolboxes, ToolboxScreen } from "./admin/toolboxes.tsx";
import { AppErrorNote } from "./features/errors/index.tsx";
import { QueueDrawer } from "./features/queue/index.ts";
import { SyncBanner } from "./features/workspace/index.ts";
import { formatTime } from "./format.ts";
import { places } from "./places.ts";
import { ErrorBoundary } from "./shell/error-boundary.tsx";
import { useHashPath, useHashSearch } from "./shell/hash-location.ts";
import { Palette } from "./shell/palette.tsx";
import { Sidebar, viewOf } from "./shell/sidebar.tsx";
import { StatusBar } from "./shell/status-bar.tsx";
import { useCopy, useFeedError, useLinkState, useNowSelect, useSession } from "./state/index.ts";
import { text } from "./text.ts";
import { Banner } from "./ui/banner.tsx";
import { Button } from "./ui/button.tsx";
import { EmptyState } from "./ui/empty-state.tsx";
import { SkeletonRows } from "./ui/skeleton.tsx";
import { ToastProvider } from "./ui/toast.tsx";
import { TooltipProvider } from "./ui/tooltip.tsx";
import { OwnChanges, UserView } from "./user/index.tsx";

export function App() {
  return (
    <CSPProvider disableStyleElements>
      <TooltipProvider>
        <ToastProvider closeLabel={text.app.dismiss}>
          <Router hook={useHashPath} searchHook={useHashSearch}>
            <Window />
          </Router>
        </ToastProvider>
      </TooltipProvider>
    </CSPProvider>
  );
}

function Window() {
  const [path] = useLocation();
  const isAdmin = useSession(({ session }) => session?.roles.includes("admin") ?? true);
  const view = viewOf(path, isAdmin);
  const isReady = useCopy((copy) => copy.isReady);
  const hasSession = useSession((state) => state.session !== null);
  const isRefused = useLinkState().state === "refused";
  const content = useFocusOfPlace(path);
  return (
    <div className="flex h-full flex-col">
      <button
        type="button"
        onClick={() => content.current?.focus()}
        className="sr-only focus:not-sr-only focus:absolute focus:top-2 focus:left-2 focus:z-80 focus:rounded-md focus:bg-raised focus:px-3 focus:py-1.5 focus:shadow-lg"
      >
        {text.shell.skip}
      </button>
      <div className="flex min-h-0 flex-1">
        <Sidebar view={view} />
        <main
          id="content"
          ref={content}
          tabIndex={-1}
          className="my-2 mr-2 flex min-w-0 flex-1 flex-col overflow-hidden rounded-xl border border-line bg-surface outline-none"
        >
          <Banners />
          <ErrorBoundary resetKey={path}>
            {isRefused ? <Refused /> : isReady && hasSession ? <Screens /> : <Waiting />}
          </ErrorBoundary>
        </main>
      </div>
      <StatusBar view={view} />
      <Palette />
      <QueueDrawer />
    </div>
  );
}

/** A place that is left takes the focused element with it: the keyboard then goes on in the content, not at the top. */
function useFocusOfPlace(path: string) {
  const content = useRef<HTMLElement>(null);
  const last = useRef(path);
  useEffect(() => {
    if (last.current === path) return;
    last.current = path;
    if (document.activeElement === null || document.activeElement === document.body)
      content.current?.focus({ preventScroll: true });
  }, [path]);
  return content;
}

/** Nothing has arrived yet, or what should have arrived failed. */
function Waiting() {
  const error = useFeedError((state) => state.error);
  if (error !== null)
    return (
      <div className="p-5">
        <AppErrorNote error={error}>
          <Button size="sm" onClick={() => window.location.reload()}>
            {text.app.crash.action}
          </Button>
        </AppErrorNote>
      </div>
    );
  return (
    <div className="pt-14">
      <h1 className="sr-only">{text.link.waiting}</h1>
      <SkeletonRows label={text.link.waiting} />
    </div>
  );
}

function Screens() {
  const isAdmin = useSession((state) => state.session?.roles.includes("admin") ?? false);
  return (
    <Switch>
      <Route path={/^\/agents(?:\/.*)?$/}>
        <Titled title={text.shell.agents}>
          <UserView />
        </Titled>
      </Route>
      <Route path={places.changes}>
        <Titled title={text.shell.changes}>
          <OwnChanges />
        </Titled>
      </Route>
      <Route path={places.shareWorkspace}>
        <Titled title={text.sharing.title}>
          <ShareWorkspace />
        </Titled>
      </Route>
      <Route path={places.settings}>
        <Titled title={text.shell.settings}>
          <Settings />
        </Titled>
      </Route>
      <Route>{isAdmin ? <AdminScreens /> : <Redirect to={places.agents} />}</Route>
    </Switch>
  );
}

function AdminScreens() {
  return (
    <Switch>
      <Route path={places.overview}>
        <Titled title={text.shell.overview}>
          <Overview />
        </Titled>
      </Route>
      <Route path={places.toolboxes}>
        <Titled title={text.shell.toolboxes}>
          <Toolboxes />
        </Titled>
      </Route>
      <Route path="/toolboxes/:id">
        {({ id }) => (
          <Titled title={text.shell.toolboxes}>
            <ToolboxScreen id={id} />
          </Titled>
        )}
      </Route>
      <Route path={places.catalogue}>
        <Titled title={text.shell.catalogue}>
          <Catalogue />
        </Titled>
      </Route>
      <Route path={places.newTemplate()}>
        <Titled title={text.templateForm.createTitle}>
          <NewTemplateScreen />
        </Titled>
      </Route>
      <Route path="/catalogue/:id/edit">
        {({ id }) => (
          <Titled title={text.shell.catalogue}>
            <EditTemplateScreen key={id} id={id} />
          </Titled>
        )}
      </Route>
      <Route path="/catalogue/:id">
        {({ id }) => (
          <Titled title={text.shell.catalogue}>
            <TemplateScreen id={id} />
          </Titled>
        )}
      </Route>
      <Route path="/catalogue/:id/deploy">
        {({ id }) => (
          <Titled title={text.deploy.short}>
            <DeployScreen key={id} id={id} />
          </Titled>
        )}
      </Route>
      <Route path={places.servers}>
        <Titled title={text.shell.servers}>
          <Servers />
        </Titled>
      </Route>
      <Route path="/servers/:id">
        {({ id }) => (
          <Titled title={text.shell.servers}>
            <ServerScreen key={id} id={id} />
          </Titled>
        )}
      </Route>
      <Route path={places.people}>
        <Titled title={text.shell.people}>
          <People />
        </Titled>
      </Route>
      <Route path="/people/:id">
        {({ id }) => (
          <Titled title={text.shell.people}>
            <PersonScreen id={id} />
          </Titled>
        )}
      </Route>
      <Route path={places.activity}>
        <Titled title={text.shell.activity}>
          <Activity />
        </Titled>
      </Route>
      <Route>
        <Missing />
      </Route>
    </Switch>
  );
}

function Titled({ title, children }: { title: string; children: ReactNode }) {
  useEffect(() => {
    document.title = text.app.documentTitle(title);
  }, [title]);
  return children;
}

/** What cannot wait for somebody to look at the status bar. */
function Banners() {
  const isReady = useCopy((copy) => copy.isReady);
  return (
    <div className="flex flex-col gap-2 px-3 not-empty:pt-3">
      <LinkBanner />
      {isReady && <SyncBanner />}
    </div>
  );
}

/** What is shown is a copy; this says so as soon as it is no longer fed. */
function LinkBanner() {
  const link = useLinkState();
  const since = useNowSelect((now) => (link.state === "lost" && now - link.since > 2_000 ? formatTime(link.since, now) : null));
  if (since === null) return null;
  return <Banner tone="warn">{text.link.lostBanner(since)}</Banner>;
}

function Refused() {
  return (
    <div role="alert" className="grid h-full place-items-center">
      <EmptyState
        headingLevel={1}
        title={text.link.refusedTitle}
        action={<Button onClick={() => window.location.reload()}>{text.app.retry}</Button>}
      >
        {text.link.refusedBody}
      </EmptyState>
    </div>
  );
}
