export { TemplateForm } from "./template-form.tsx";
export { TemplateGrid } from "./template-grid.tsx";
export { TemplatePage } from "./template-page.tsx";
