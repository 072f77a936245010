import { Autocomplete } from "@base-ui/react/autocomplete";
import { Dialog } from "@base-ui/react/dialog";
import { Bot, Boxes, CornerDownLeft, type LucideIcon, Search, Server, SquareLibrary, UserRound, Zap } from "lucide-react";
import { useEffect, useMemo, useRef, useState } from "react";
import { useLocation } from "wouter";
import { places } from "../places.ts";
import { useCopy, useRows, useSession, useUi } from "../state/index.ts";
import { text } from "../text.ts";
import { DialogBackdrop } from "../ui/dialog.tsx";
import { Kbd } from "../ui/kbd.tsx";
import { best } from "./rank.ts";

type Entry = { id: string; kind: keyof typeof text.palette.kinds; label: string; run(): void };
type Group = { value: string; items: Entry[] };

const icons: Record<Entry["kind"], LucideIcon> = {
  action: Zap,
  toolbox: Boxes,
  server: Server,
  agent: Bot,
  template: SquareLibrary,
  person: UserRound,
};

/** Ctrl-K or ⌘-K: finds things and runs actions. */
export function Palette() {
  const isOpen = useUi((ui) => ui.isPaletteOpen);
  const setOpen = useUi((ui) => ui.setPaletteOpen);
  const [wasOpen, setWasOpen] = useState(isOpen);
  const [opening, setOpening] = useState(0);
  const hasChosen = useRef(false);
  if (isOpen !== wasOpen) {
    setWasOpen(isOpen);
    if (isOpen) setOpening(opening + 1);
  }
  useEffect(() => {
    if (isOpen) hasChosen.current = false;
  }, [isOpen]);
  useEffect(() => {
    const toggle = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
      event.preventDefault();
      setOpen(!useUi.getState().isPaletteOpen);
    };
    window.addEventListener("keydown", toggle);
    return () => window.removeEventListener("keydown", toggle);
  }, [setOpen]);
  return (
    <Dialog.Root open={isOpen} onOpenChange={setOpen}>
      <Dialog.Portal>
        <DialogBackdrop />
        <Dialog.Viewport className="fixed inset-0 z-50 flex items-start justify-center overflow-hidden px-4 pt-[14vh]">
          <Dialog.Popup
            aria-label={text.palette.title}
            // What is chosen is in the content; who only looked goes back to where they were.
            finalFocus={() => (hasChosen.current ? document.getElementById("content") : true)}
            className="flex w-full max-w-xl flex-col overflow-hidden rounded-xl bg-raised text-ink shadow-xl outline-none transition-[opacity,transform] duration-100 ease-quick data-ending-style:scale-[0.98] data-starting-style:scale-[0.98] data-ending-style:opacity-0 data-starting-style:opacity-0"
          >
            {/* While it fades out after one opening, the next one already starts anew. */}
            <Finder
              key={opening}
              onDone={() => {
                hasChosen.current = true;
                setOpen(false);
              }}
            />
            <Dialog.Close className="sr-only">{text.app.close}</Dialog.Close>
          </Dialog.Popup>
        </Dialog.Viewport>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

function Finder({ onDone }: { onDone(): void }) {
  const [query, setQuery] = useState("");
  const groups = useGroups(query);
  return (
    <Autocomplete.Root<Group>
      open
      inline
      mode="none"
      items={groups}
      value={query}
      onValueChange={setQuery}
      autoHighlight="always"
      keepHighlight
    >
      <div className="flex h-12 items-center gap-3 border-line border-b px-4">
        <Search size={16} aria-hidden className="shrink-0 text-faint" />
        <Autocomplete.Input
          aria-label={text.palette.placeholder}
          placeholder={text.palette.placeholder}
          className="h-full w-full bg-transparent text-base outline-none"
        />
      </div>
      <div className="max-h-[46vh] overflow-y-auto overscroll-contain">
        <Autocomplete.Empty>
          {groups.length === 0 && <p className="px-4 py-8 text-center text-muted text-sm">{text.palette.empty}</p>}
        </Autocomplete.Empty>
        <Autocomplete.List className="p-1.5 empty:p-0">
          {(group: Group) => (
            <Autocomplete.Group key={group.value} items={group.items} className="not-last:mb-1.5">
              <Autocomplete.GroupLabel className="px-2.5 py-1 text-faint text-xs">{group.value}</Autocomplete.GroupLabel>
              <Autocomplete.Collection>
                {(entry: Entry) => <EntryRow key={entry.id} entry={entry} onDone={onDone} />}
              </Autocomplete.Collection>
            </Autocomplete.Group>
          )}
        </Autocomplete.List>
      </div>
      <div aria-hidden="true" className="flex h-9 items-center gap-4 border-line border-t bg-canvas px-4 text-faint text-xs">
        <span className="flex items-center gap-1.5">
          <Kbd>↑</Kbd>
          <Kbd>↓</Kbd> {text.palette.move}
        </span>
        <span className="flex items-center gap-1.5">
          <Kbd>↵</Kbd> {text.palette.open}
        </span>
        <span className="flex items-center gap-1.5">
          <Kbd>Esc</Kbd> {text.palette.close}
        </span>
      </div>
    </Autocomplete.Root>
  );
}

function EntryRow({ entry, onDone }: { entry: Entry; onDone(): void }) {
  const Icon = icons[entry.kind];
  return (
    <Autocomplete.Item
      value={entry}
      onClick={() => {
        onDone();
        entry.run();
      }}
      className="group flex h-9 items-center gap-3 rounded-md px-2.5 text-sm outline-none data-highlighted:bg-selected"
    >
      <Icon size={15} aria-hidden className="shrink-0 text-faint" />
      <span className="min-w-0 flex-1 truncate">{entry.label}</span>
      <CornerDownLeft size={13} aria-hidden className="hidden shrink-0 text-faint group-data-highlighted:block" />
    </Autocomplete.Item>
  );
}

function useGroups(query: string): Group[] {
  const [, navigate] = useLocation();
  const setTheme = useUi((ui) => ui.setTheme);
  const isAdmin = useSession((state) => state.session?.roles.includes("admin") ?? false);
  const toolboxes = useRows("toolboxes");
  const servers = useRows("servers");
  const agents = useRows("agents");
  const templates = useRows("templates");
  const people = useRows("people");
  const isShared = useCopy((copy) => copy.facts.sync.account !== null);
  const setQueueOpen = useUi((ui) => ui.setQueueOpen);
  return useMemo(() => {
    const isSearching = query.trim() !== "";
    const go = (place: string) => () => navigate(place);
    const { palette, shell } = text;
    const action = (id: string, label: string, run: () => void): Entry => ({ id, kind: "action", label, run });
    const actions = [
      ...(isAdmin
        ? [
            action("deploy", palette.deployServer, go(places.catalogue)),
            action("add-toolbox", palette.addToolbox, go(`${places.toolboxes}?add`)),
            action("overview", palette.goTo(shell.overview), go(places.overview)),
            action("servers", palette.goTo(shell.servers), go(places.servers)),
            action("catalogue", palette.goTo(shell.catalogue), go(places.catalogue)),
            action("toolboxes", palette.goTo(shell.toolboxes), go(places.toolboxes)),
            action("people", palette.goTo(shell.people), go(places.people)),
            action("activity", palette.goTo(shell.activity), go(places.activity)),
          ]
        : []),
      ...(isShared
        ? [
            action("queue", palette.showQueue, () => setQueueOpen(true)),
            action("changes", palette.goTo(shell.changes), go(places.changes)),
          ]
        : [action("share", palette.shareWorkspace, go(places.shareWorkspace))]),
      action("agents", palette.goTo(shell.agents), go(places.agents)),
      action("settings", palette.goTo(shell.settings), go(places.settings)),
      ...(["system", "light", "dark"] as const).map((theme) =>
        action(`theme-${theme}`, palette.chooseTheme(shell.themes[theme]), () => setTheme(theme)),
      ),
    ];
    const find = <Row extends { id: string }>(
      title: string,
      kind: Entry["kind"],
      rows: readonly Row[],
      labelOf: (row: Row) => string,
      placeOf: (row: Row) => string,
      wordsOf: (row: Row) => string = labelOf,
    ) => {
      const found = best(rows, wordsOf, query, isSearching ? 8 : 4);
      return {
        title,
        rank: found[0]?.rank ?? 0,
        entries: found.map(
          ({ entry }): Entry => ({ id: `${kind}-${entry.id}`, kind, label: labelOf(entry), run: go(placeOf(entry)) }),
        ),
      };
    };
    const foundActions = best(actions, (entry) => entry.label, query, isSearching ? 8 : actions.length);
    const groups = [
      { title: palette.actions, rank: foundActions[0]?.rank ?? 0, entries: foundActions.map((found) => found.entry) },
      ...(isAdmin
        ? [
            find(
              shell.servers,
              "server",
              servers,
              (row) => row.spec.name,
              (row) => places.server(row.id),
            ),
            find(
              shell.toolboxes,
              "toolbox",
              toolboxes,
              (row) => row.name,
              (row) => places.toolbox(row.id),
            ),
            find(
              shell.catalogue,
              "template",
              templates,
              (row) => row.title,
              (row) => places.template(row.id),
              (row) => `${row.title} ${palette.deploy(row.title)}`,
            ),
            find(
              shell.people,
              "person",
              people,
              (row) => row.name,
              (row) => places.person(row.id),
              (row) => `${row.name} ${row.email ?? ""}`,
            ),
          ]
        : []),
      find(
        shell.agents,
        "agent",
        agents,
        (row) => row.name,
        (row) => places.agent(row.id),
      ),
    ].filter((group) => group.entries.length > 0);
    if (isSearching) groups.sort((one, other) => other.rank - one.rank);
    return groups.map((group): Group => ({ value: group.title, items: group.entries }));
  }, [query, isAdmin, isShared, toolboxes, servers, agents, templates, people, navigate, setTheme, setQueueOpen]);
}
