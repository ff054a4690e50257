export { acceptForms, createFormGuard, type FormGuard } from './forms.ts';
export { type Html, html } from './html.ts';
export { field, hidden, type Page, renderPage } from './layout.ts';
export { readPageSettings } from './look.ts';
export { sendPage } from './send.ts';
export { codeForm, passwordForm } from './sign-in-forms.ts';
