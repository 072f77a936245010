import type { Template } from "../../../shared/model/template.ts";
import { api } from "../../api.ts";
import { useRows } from "../../state/index.ts";
import { text } from "../../text.ts";
import { announce } from "../../ui/toast.tsx";
import { ConfirmAction } from "../confirm/index.tsx";

type DeleteTemplateProps = { template: Template; isOpen: boolean; onClose(): void; onDeleted(): void };

/** Deletes a template of the team after naming the servers that were deployed from it. */
export function DeleteTemplate({ template, isOpen, onClose, onDeleted }: DeleteTemplateProps) {
  const servers = useRows("servers").filter(({ templateId }) => templateId === template.id);
  return (
    <ConfirmAction
      isOpen={isOpen}
      onClose={onClose}
      title={text.catalogue.deleteTitle(template.title)}
      body={text.catalogue.deleteBody}
      affected={{
        label: text.catalogue.deleteAffects(servers.length),
        names: servers.map(({ spec }) => spec.name),
      }}
      confirmLabel={text.app.delete}
      perform={() => api.catalogue.delete({ id: template.id })}
      onDone={() => {
        announce({ title: text.catalogue.deleted(template.title) });
        onDeleted();
      }}
    />
  );
}
