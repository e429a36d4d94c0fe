%% SPDX-License-Identifier: Apache-2.0
%% @doc What a worker or the node answers, as Cowboy's commands: heads, bodies that must not be,
%% errors.
%%
%% Pure but for the clock of Cowboy's `date'; runs in the connection process.
-module(hornbeam_response).

-export([whole/4, head/3, data/2, last/3, file/2, fin/3, push/3, refuse/3, failed/2, early/3]).
-export_type([context/0]).

%% What the response depends on.
-type context() :: #{
    method := binary(),
    version := cowboy:http_version(),
    %% The connection is not used again after this response.
    close := boolean(),
    %% How long the connection may idle afterwards, milliseconds; HTTP/1 only.
    keepalive => non_neg_integer(),
    _ => _
}.

-define(HAS_NO_BODY(Status), (Status =:= 204 orelse Status =:= 304)).

%% @doc A response that came in one piece.
-spec whole(cowboy:http_status(), cowboy:http_headers(), binary(), context()) ->
    cowboy_stream:commands().
whole(Status, Headers, _, Context) when ?HAS_NO_BODY(Status) ->
    [{response, Status, complete(Status, Headers, Context), <<>>} | ending(Context)];
whole(Status, Headers, Body, #{method := <<"HEAD">>} = Context) ->
    Sized =
        case Body of
            <<>> -> Headers;
            _ -> with_length(Headers, Body)
        end,
    [{response, Status, complete(Status, Sized, Context), <<>>} | ending(Context)];
whole(Status, Headers, Body, Context) ->
    Sized = with_length(Headers, Body),
    [{response, Status, complete(Status, Sized, Context), Body} | ending(Context)].

%% Cowboy's idle timeout is off during a request and counts from here until the next one.
ending(#{keepalive := Keepalive, close := false, version := Version}) when Version =/= 'HTTP/2' ->
    [{set_options, #{idle_timeout => Keepalive}}, stop];
ending(_) ->
    [stop].

%% The worker has compared a length that the application gave with the body. To a HEAD the
%% application may tell the length of what a GET would get; without that nobody knows it.
with_length(#{<<"content-length">> := _} = Headers, _) -> Headers;
with_length(Headers, Body) -> Headers#{<<"content-length">> => integer_to_binary(byte_size(Body))}.

%% @doc The head of a response whose body follows in pieces.
-spec head(cowboy:http_status(), cowboy:http_headers(), context()) -> cowboy_stream:commands().
head(Status, Headers, Context) ->
    [{headers, Status, complete(Status, Headers, Context)}].

%% Where a body is not allowed, Cowboy would crash on data after such a head.
complete(204, Headers, Context) ->
    always(maps:remove(<<"content-length">>, Headers), Context);
complete(_, Headers, Context) ->
    always(Headers, Context).

always(#{<<"date">> := _, <<"server">> := _} = Headers, Context) ->
    closing(Headers, Context);
always(#{<<"date">> := _} = Headers, Context) ->
    closing(Headers#{<<"server">> => <<"hornbeam">>}, Context);
always(#{<<"server">> := _} = Headers, Context) ->
    closing(Headers#{<<"date">> => cowboy_clock:rfc1123()}, Context);
always(Headers, Context) ->
    Server = <<"hornbeam">>,
    closing(Headers#{<<"date">> => cowboy_clock:rfc1123(), <<"server">> => Server}, Context).

closing(Headers, #{close := true, version := Version}) when Version =/= 'HTTP/2' ->
    Headers#{<<"connection">> => <<"close">>};
closing(Headers, _) ->
    Headers.

%% @doc A piece of the body; nothing when the response has none.
-spec data(iodata(), HasBody :: boolean()) -> cowboy_stream:commands().
data(Data, true) -> [{data, nofin, Data}];
data(_, false) -> [].

%% @doc The last piece, in one write with the end of the body.
-spec last(iodata(), HasBody :: boolean(), context()) -> cowboy_stream:commands().
last(_, false, Context) -> ending(Context);
last(Data, true, Context) -> [{data, fin, Data} | ending(Context)].

%% @doc A part of a file, sent by the kernel.
-spec file({binary(), non_neg_integer(), pos_integer()}, HasBody :: boolean()) ->
    cowboy_stream:commands().
file({Path, Offset, Bytes}, true) -> [{data, nofin, {sendfile, Offset, Bytes, Path}}];
file(_, false) -> [].

-spec fin(cowboy:http_headers(), HasBody :: boolean(), context()) -> cowboy_stream:commands().
fin(_, false, Context) ->
    ending(Context);
fin(Trailers, true, Context) when map_size(Trailers) > 0 ->
    [{trailers, Trailers} | ending(Context)];
fin(_, true, Context) ->
    [{data, fin, <<>>} | ending(Context)].

%% @doc A promise of what the client is going to ask for (RFC 9113, 8.4): only over HTTP/2, and not
%% for what is pushed itself. Cowboy drops it where the client takes none.
-spec push(Path :: binary(), cowboy:http_headers(), cowboy_req:req()) -> cowboy_stream:commands().
push(<<"/", _/binary>> = Target, Headers, #{version := 'HTTP/2', streamid := Id} = Req) when
    Id band 1 =:= 1
->
    #{scheme := Scheme, host := Host, port := Port} = Req,
    {Path, Query} = target(binary:split(Target, <<"?">>)),
    [{push, <<"GET">>, Scheme, Host, Port, Path, Query, Headers}];
push(_, _, _) ->
    [].

target([Path]) -> {Path, <<>>};
target([Path, Query]) -> {Path, Query}.

%% @doc An answer of the node itself, with one line of text that says why.
-spec refuse(400..599, Reason :: binary(), context()) -> cowboy_stream:commands().
refuse(Status, Reason, #{method := Method} = Context) ->
    Number = integer_to_binary(Status),
    Text = <<Number/binary, " ", (phrase(Status))/binary, ": ", Reason/binary, "\n">>,
    Headers = (retry(Status))#{
        <<"content-type">> => <<"text/plain; charset=utf-8">>,
        <<"content-length">> => integer_to_binary(byte_size(Text))
    },
    Body =
        case Method of
            <<"HEAD">> -> <<>>;
            _ -> Text
        end,
    [{response, Status, complete(Status, Headers, Context), Body} | ending(Context)].

retry(503) -> #{<<"retry-after">> => <<"1">>};
retry(_) -> #{}.

phrase(400) -> <<"Bad Request">>;
phrase(408) -> <<"Request Timeout">>;
phrase(411) -> <<"Length Required">>;
phrase(413) -> <<"Content Too Large">>;
phrase(414) -> <<"URI Too Long">>;
phrase(417) -> <<"Expectation Failed">>;
phrase(426) -> <<"Upgrade Required">>;
phrase(431) -> <<"Request Header Fields Too Large">>;
phrase(500) -> <<"Internal Server Error">>;
phrase(501) -> <<"Not Implemented">>;
phrase(502) -> <<"Bad Gateway">>;
phrase(503) -> <<"Service Unavailable">>;
phrase(504) -> <<"Gateway Timeout">>;
phrase(505) -> <<"HTTP Version Not Supported">>;
phrase(_) -> <<"Refused">>.

%% @doc The answer to a request that failed before its head was sent (design, section 7).
-spec failed(hornbeam_exchanges:event() | {failed, queue_timeout | queue_full}, context()) ->
    cowboy_stream:commands().
failed({abort, _, _}, Context) ->
    refuse(500, <<"the application failed">>, Context);
failed({failed, worker_gone}, Context) ->
    refuse(502, <<"the worker that ran the request died">>, Context);
failed({failed, timeout}, Context) ->
    refuse(504, <<"the application did not answer in time">>, Context);
failed({failed, queue_full}, Context) ->
    refuse(503, <<"too many requests are waiting">>, Context);
failed({failed, queue_timeout}, Context) ->
    refuse(503, <<"no worker became free in time">>, Context).

%% @doc What Cowboy is about to answer to what it cannot read, in our form.
-spec early(cowboy_stream:reason(), cowboy_stream:partial_req(), Resp) -> Resp when
    Resp :: cowboy_stream:resp_command().
early(Reason, Partial, {response, Status, Headers, _}) ->
    Context = #{
        method => maps:get(method, Partial, <<"GET">>), version => 'HTTP/1.1', close => true
    },
    [{response, _, Ours, Body}, stop] =
        refuse(cow_http:status_to_integer(Status), human(Reason), Context),
    {response, Status, maps:merge(Headers, Ours), Body}.

human({_, _, Text}) when is_atom(Text) -> atom_to_binary(Text);
human(_) -> <<"the request cannot be read">>.
