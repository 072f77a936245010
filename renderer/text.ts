/*
Every text of the window, in one place, grouped by area. Plurals and values are functions; nothing is put together from
parts elsewhere. Sentences about failures come from shared/errors.ts.
*/

const number = new Intl.NumberFormat("en");

function count(amount: number, one: string, many: string): string {
  return `${number.format(amount)} ${amount === 1 ? one : many}`;
}

export const text = {
  app: {
    name: "DTMA Control Centre",
    close: "Close",
    cancel: "Cancel",
    save: "Save",
    delete: "Delete",
    edit: "Edit",
    retry: "Try again",
    copy: "Copy",
    copied: "Copied",
    more: "More actions",
    loading: "Loading…",
    none: "–",
    showOutput: "Show the last lines",
    showSecret: "Show what was typed",
    hideSecret: "Hide what was typed",
  },

  link: {
    noAnswer: "The control centre does not answer.",
    broke: "The link to the control centre broke during the call.",
  },

  agents: {},

  connections: {},

  tools: {},

  counts: {
    toolboxes: (amount: number) => count(amount, "toolbox", "toolboxes"),
    servers: (amount: number) => count(amount, "server", "servers"),
    agents: (amount: number) => count(amount, "agent", "agents"),
    connections: (amount: number) => count(amount, "connection", "connections"),
    tools: (amount: number) => count(amount, "tool", "tools"),
  },
} as const;
