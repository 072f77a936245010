// biome-ignore-all lint/a11y/useSemanticElements: rows mounted by position cannot be rows of a table element
// biome-ignore-all lint/a11y/useFocusableInteractive: headers hold their own focusable controls
import { useVirtualizer } from "@tanstack/react-virtual";
import { ArrowDown, ArrowUp } from "lucide-react";
import { type KeyboardEvent, type ReactNode, useLayoutEffect, useMemo, useState } from "react";
import { join } from "./join.ts";

/*
INVARIANTS
- A table is one tab stop: arrows, Home, End and Page keys move between rows, Enter opens, Space selects.
- Above `virtualAbove` rows only those in sight are mounted; `aria-rowcount` and `aria-rowindex` tell the whole.
*/

const virtualAbove = 100;
const rowHeight = 40;

export type Column<Row> = {
  id: string;
  header: string;
  /** Track size of a CSS grid, such as `2fr` or `8rem`. */
  width: string;
  align?: "start" | "end";
  /** Left out while the table is narrower than this, in pixels: what can be done without goes first. */
  showsFrom?: number;
  /** Without it the column cannot be sorted. */
  sortBy?: (row: Row) => string | number;
  cell(row: Row): ReactNode;
};

type TableProps<Row> = {
  label: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  rowId(row: Row): string;
  /** Name of a row for its checkbox. */
  rowLabel(row: Row): string;
  onOpen?: (row: Row) => void;
  selection?: {
    selected: ReadonlySet<string>;
    onChange(selected: ReadonlySet<string>): void;
    allLabel: string;
    rowLabel(name: string): string;
  };
  /** Buttons at the end of a row. */
  actions?: { header: string; cell(row: Row): ReactNode };
  initialSort?: { columnId: string; isDescending: boolean };
  /** Another key is another list: it is shown from its start. */
  listKey?: string;
  /** Takes the height that is left and scrolls inside; else it is as high as its rows. */
  isFilling?: boolean;
  /** Stands in place of the table while there are no rows. */
  empty?: ReactNode;
};

/** A dense table: sortable, with a keyboard, virtualised when long. */
export function Table<Row>(props: TableProps<Row>) {
  const { label, rows, rowId, rowLabel, onOpen, selection, actions, initialSort, isFilling = true, empty } = props;
  const [sort, setSort] = useState(initialSort ?? null);
  const [activeId, setActiveId] = useState<string | null>(null);
  const [scroller, setScroller] = useState<HTMLDivElement | null>(null);
  const width = useWidth(scroller);
  const columns = props.columns.filter((column) => width === null || width >= (column.showsFrom ?? 0));
  const sorted = useMemo(() => sortRows(rows, props.columns, sort), [rows, props.columns, sort]);
  const isVirtual = isFilling && sorted.length > virtualAbove;
  const virtualizer = useVirtualizer({
    count: sorted.length,
    enabled: isVirtual,
    getScrollElement: () => scroller,
    estimateSize: () => rowHeight,
    overscan: 12,
  });
  const listKey = `${props.listKey ?? ""} ${sort?.columnId ?? ""} ${sort?.isDescending ?? ""}`;
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs for another key
  useLayoutEffect(() => {
    scroller?.scrollTo({ top: 0 });
  }, [listKey]);
  const tracks = [
    ...(selection === undefined ? [] : ["1.75rem"]),
    ...columns.map((column) => column.width),
    ...(actions === undefined ? [] : ["2.25rem"]),
  ].join(" ");
  const activeIndex = Math.max(0, activeId === null ? 0 : sorted.findIndex((row) => rowId(row) === activeId));

  const focusRow = (index: number) => {
    const row = sorted[index];
    if (row === undefined) return;
    const id = rowId(row);
    setActiveId(id);
    if (isVirtual) virtualizer.scrollToIndex(index);
    requestAnimationFrame(() => {
      scroller?.querySelector<HTMLElement>(`[data-row-id="${CSS.escape(id)}"]`)?.focus();
    });
  };

  const toggle = (row: Row) => {
    if (selection === undefined) return;
    const next = new Set(selection.selected);
    if (!next.delete(rowId(row))) next.add(rowId(row));
    selection.onChange(next);
  };

  const onKeyDown = (event: KeyboardEvent, row: Row, index: number) => {
    if (event.target !== event.currentTarget) return;
    const page = Math.max(1, Math.floor((scroller?.clientHeight ?? 400) / rowHeight) - 2);
    const last = sorted.length - 1;
    const moves: Record<string, number> = {
      ArrowDown: index + 1,
      ArrowUp: index - 1,
      Home: 0,
      End: last,
      PageDown: index + page,
      PageUp: index - page,
    };
    const target = moves[event.key];
    if (target !== undefined) {
      event.preventDefault();
      focusRow(Math.min(last, Math.max(0, target)));
    } else if (event.key === "Enter" && onOpen !== undefined) {
      event.preventDefault();
      onOpen(row);
    } else if (event.key === " " && selection !== undefined) {
      event.preventDefault();
      toggle(row);
    }
  };

  const renderRow = (row: Row, index: number, top?: number) => {
    const id = rowId(row);
    const isSelected = selection?.selected.has(id) ?? false;
    return (
      <div
        key={id}
        role="row"
        data-row-id={id}
        aria-rowindex={index + 2}
        aria-label={rowLabel(row)}
        {...(selection === undefined ? {} : { "aria-selected": isSelected })}
        tabIndex={index === activeIndex ? 0 : -1}
        onFocus={() => setActiveId(id)}
        onKeyDown={(event) => onKeyDown(event, row, index)}
        onClick={(event) => {
          if ((event.target as HTMLElement).closest("button, a, input, label, [role=menu], [role=dialog]") === null)
            onOpen?.(row);
        }}
        className={join(
          "group/row grid h-10 items-center gap-4 border-line border-b px-5 text-sm outline-offset-[-2px]",
          isSelected ? "bg-accent-soft" : onOpen !== undefined && "hover:bg-hover",
          top !== undefined && "absolute inset-x-0 top-0",
          !isFilling && "last:border-b-0",
        )}
        style={{ gridTemplateColumns: tracks, ...(top === undefined ? {} : { transform: `translateY(${top}px)` }) }}
      >
        {selection !== undefined && (
          <div role="gridcell" className="flex">
            <input
              type="checkbox"
              tabIndex={-1}
              aria-label={selection.rowLabel(rowLabel(row))}
              checked={isSelected}
              onChange={() => toggle(row)}
              className="size-4 accent-accent"
            />
          </div>
        )}
        {columns.map((column) => (
          <div
            key={column.id}
            role="gridcell"
            className={join("flex min-w-0 items-center", column.align === "end" && "tnum justify-end text-right")}
          >
            {column.cell(row)}
          </div>
        ))}
        {actions !== undefined && (
          <div role="gridcell" className="flex justify-end">
            {actions.cell(row)}
          </div>
        )}
      </div>
    );
  };

  if (sorted.length === 0) return empty;
  return (
    <div ref={setScroller} className={join("min-w-0", isFilling ? "min-h-0 flex-1 overflow-auto" : "overflow-x-auto")}>
      <div
        role="grid"
        aria-label={label}
        aria-rowcount={sorted.length + 1}
        {...(selection === undefined ? {} : { "aria-multiselectable": true })}
      >
        <div role="rowgroup" className="sticky top-0 z-10">
          <div
            role="row"
            aria-rowindex={1}
            className="grid h-8 items-center gap-4 border-line border-b bg-surface px-5 text-faint text-xs"
            style={{ gridTemplateColumns: tracks }}
          >
            {selection !== undefined && (
              <div role="columnheader" className="flex">
                <input
                  type="checkbox"
                  aria-label={selection.allLabel}
                  checked={sorted.length > 0 && selection.selected.size >= sorted.length}
                  ref={(box) => {
                    if (box !== null)
                      box.indeterminate = selection.selected.size > 0 && selection.selected.size < sorted.length;
                  }}
                  onChange={(event) => selection.onChange(event.target.checked ? new Set(sorted.map(rowId)) : new Set())}
                  className="size-4 accent-accent"
                />
              </div>
            )}
            {columns.map((column) => (
              <ColumnHeader
                key={column.id}
                column={column}
                direction={sort?.columnId === column.id ? (sort.isDescending ? "descending" : "ascending") : "none"}
                onSort={() =>
                  setSort({
                    columnId: column.id,
                    isDescending: sort?.columnId === column.id ? !sort.isDescending : false,
                  })
                }
              />
            ))}
            {actions !== undefined && (
              <div role="columnheader">
                <span className="sr-only">{actions.header}</span>
              </div>
            )}
          </div>
        </div>
        {isVirtual ? (
          <div role="rowgroup" className="relative" style={{ height: virtualizer.getTotalSize() }}>
            {virtualizer.getVirtualItems().map((item) => {
              const row = sorted[item.index];
              return row === undefined ? null : renderRow(row, item.index, item.start);
            })}
          </div>
        ) : (
          <div role="rowgroup">{sorted.map((row, index) => renderRow(row, index))}</div>
        )}
      </div>
    </div>
  );
}

type ColumnHeaderProps<Row> = {
  column: Column<Row>;
  direction: "ascending" | "descending" | "none";
  onSort(): void;
};

function ColumnHeader<Row>({ column, direction, onSort }: ColumnHeaderProps<Row>) {
  const Arrow = direction === "descending" ? ArrowDown : ArrowUp;
  return (
    <div
      role="columnheader"
      {...(column.sortBy === undefined ? {} : { "aria-sort": direction })}
      className={join("flex min-w-0 items-center", column.align === "end" && "justify-end")}
    >
      {column.sortBy === undefined ? (
        <span className="truncate">{column.header}</span>
      ) : (
        <button
          type="button"
          onClick={onSort}
          className={join("flex min-w-0 items-center gap-1 rounded-sm hover:text-ink", direction !== "none" && "text-ink")}
        >
          <span className="truncate">{column.header}</span>
          {direction !== "none" && <Arrow size={12} aria-hidden className="shrink-0" />}
        </button>
      )}
    </div>
  );
}

function useWidth(element: HTMLElement | null): number | null {
  const [width, setWidth] = useState<number | null>(null);
  useLayoutEffect(() => {
    if (element === null) return;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    setWidth(element.clientWidth);
    return () => observer.disconnect();
  }, [element]);
  return width;
}

function sortRows<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  sort: { columnId: string; isDescending: boolean } | null,
): readonly Row[] {
  const sortBy = columns.find((column) => column.id === sort?.columnId)?.sortBy;
  if (sort === null || sortBy === undefined) return rows;
  const sign = sort.isDescending ? -1 : 1;
  const keyed = rows.map((row) => ({ row, key: sortBy(row) }));
  keyed.sort((one, other) => sign * compare(one.key, other.key));
  return keyed.map((entry) => entry.row);
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

function compare(one: string | number, other: string | number): number {
  return typeof one === "number" && typeof other === "number" ? one - other : collator.compare(String(one), String(other));
}
