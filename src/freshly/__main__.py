from freshly.cli import main

raise SystemExit(main())
