"""Pages: view models, templates and the built tag. Everything shown is escaped; nothing here asks a store."""
