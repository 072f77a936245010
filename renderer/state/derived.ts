/*
Lists and groups made of a table of the copy. Each is made once per table: a table that changes is another object, so
results are kept by the table's identity and can be used as results of selectors.
*/

type Table<Row> = ReadonlyMap<string, Row>;

/** A function of a table that is computed once per table. */
export function perTable<Row, Result>(compute: (table: Table<Row>) => Result): (table: Table<Row>) => Result {
  const results = new WeakMap<Table<Row>, { result: Result }>();
  return (table) => {
    const known = results.get(table);
    if (known !== undefined) return known.result;
    const result = compute(table);
    results.set(table, { result });
    return result;
  };
}

/** The rows grouped by one of their members; a group nobody has is an empty list. */
export function groupBy<Row>(keyOf: (row: Row) => string): (table: Table<Row>) => (key: string) => readonly Row[] {
  return perTable((table) => {
    const groups = new Map<string, Row[]>();
    for (const row of table.values()) {
      const key = keyOf(row);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [row]);
      else group.push(row);
    }
    const none: readonly Row[] = [];
    return (key) => groups.get(key) ?? none;
  });
}

/**
 * The rows ordered by a text. Comparing texts as people do is slow, and readings change every second while names do not:
 * the order of the table before is kept as long as it holds the same rows with the same texts.
 */
export function sortedBy<Row extends { id: string }>(textOf: (row: Row) => string): (table: Table<Row>) => readonly Row[] {
  let order: { id: string; text: string }[] = [];
  return perTable((table) => {
    if (order.length === table.size) {
      const rows: Row[] = [];
      for (const { id, text } of order) {
        const row = table.get(id);
        if (row === undefined || textOf(row) !== text) break;
        rows.push(row);
      }
      if (rows.length === table.size) return rows;
    }
    const rows = [...table.values()].sort(byName(textOf));
    order = rows.map((row) => ({ id: row.id, text: textOf(row) }));
    return rows;
  });
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** Orders by a name as people read it: `box-2` before `box-10`, case aside. */
export function byName<Row>(nameOf: (row: Row) => string): (one: Row, other: Row) => number {
  return (one, other) => collator.compare(nameOf(one), nameOf(other));
}
