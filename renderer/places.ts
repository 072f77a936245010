/** Addresses of the window's screens: the part after `#`. */
export const places = {
  overview: "/",
  toolboxes: "/toolboxes",
  toolbox: (id: string) => `/toolboxes/${id}`,
  toolboxTab: (id: string, tab: string) => `/toolboxes/${id}?tab=${tab}`,
  catalogue: "/catalogue",
  template: (id: string) => `/catalogue/${id}`,
  newTemplate: (from?: string) => (from === undefined ? "/catalogue/new" : `/catalogue/new?from=${from}`),
  editTemplate: (id: string) => `/catalogue/${id}/edit`,
  deploy: (templateId: string, options: { toolboxId?: string; fromServerId?: string } = {}) => {
    const query = new URLSearchParams();
    if (options.toolboxId !== undefined) query.set("toolbox", options.toolboxId);
    if (options.fromServerId !== undefined) query.set("from", options.fromServerId);
    return `/catalogue/${templateId}/deploy${query.size === 0 ? "" : `?${query}`}`;
  },
  servers: "/servers",
  serversIn: (filter: string) => `/servers?state=${filter}`,
  server: (id: string) => `/servers/${id}`,
  serverTab: (id: string, tab: string) => `/servers/${id}?tab=${tab}`,
  activity: "/activity",
  activityIn: (filter: string) => `/activity?state=${filter}`,
  activityTab: (tab: string) => `/activity?tab=${tab}`,
  people: "/people",
  person: (id: string) => `/people/${id}`,
  changes: "/changes",
  settings: "/settings",
  shareWorkspace: "/settings/shared-database",
  agents: "/agents",
  agent: (id: string) => `/agents/${id}`,
  connection: (agentId: string, id: string) => `/agents/${agentId}/connections/${id}`,
} as const;
