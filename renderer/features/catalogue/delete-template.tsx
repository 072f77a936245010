import type { Template } from "../../../shared/model/template.ts";
import { api } from "../../api.ts";
import { useAction, useRows } from "../../state/index.ts";
import { text } from "../../text.ts";
import { ConfirmDialog } from "../../ui/confirm-dialog.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";

type DeleteTemplateProps = { template: Template; isOpen: boolean; onClose(): void; onDeleted(): void };

/** Deletes a template of the team after naming the servers that were deployed from it. */
export function DeleteTemplate({ template, isOpen, onClose, onDeleted }: DeleteTemplateProps) {
  const servers = useRows("servers").filter(({ templateId }) => templateId === template.id);
  const remove = useAction(async () => {
    await api.catalogue.delete({ id: template.id });
    return true;
  });
  return (
    <ConfirmDialog
      isOpen={isOpen}
      onClose={() => {
        remove.clearError();
        onClose();
      }}
      title={text.catalogue.deleteTitle(template.title)}
      body={text.catalogue.deleteBody}
      affected={{
        label: text.catalogue.deleteAffects(servers.length),
        names: servers.map(({ spec }) => spec.name),
        moreLabel: text.app.andMore,
      }}
      confirmLabel={text.app.delete}
      cancelLabel={text.app.cancel}
      closeLabel={text.app.close}
      isBusy={remove.isBusy}
      error={remove.error !== null && <AppErrorNote error={remove.error} />}
      onConfirm={async () => {
        if ((await remove.run()) !== true) return;
        announce({ title: text.catalogue.deleted(template.title) });
        onDeleted();
      }}
    />
  );
}
