export { AddPerson } from "./add-person.tsx";
export { PeopleTable } from "./people-table.tsx";
export { PersonPage } from "./person-page.tsx";
