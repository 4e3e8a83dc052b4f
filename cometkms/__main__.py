"""`python -m cometkms`"""

from cometkms.cli import main

if __name__ == "__main__":
    main()
