/* A shared library that loads another one, which lies beside it. */

int innermost(void);

int
inner(void)
{
    return innermost() + 1;
}
