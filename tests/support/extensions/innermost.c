/* A shared library with a variable, which every copy of it has one of. */

static int calls = 0;

int
innermost(void)
{
    return 100 * ++calls;
}
